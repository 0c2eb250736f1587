import { get } from 'node:http';
import { get as getSecure } from 'node:https';

/**
 * Runs in the network of a control-plane node, and requests the health of etcd and of kube-apiserver five
 * times a second. Prints a JSON line for each change: `down` without a process that listens, and
 * `unhealthy` for an answer other than 200.
 */
const targets = {
  etcd: 'http://127.0.0.1:2381/health',
  'kube-apiserver': 'https://127.0.0.1:6443/readyz',
} as const;
const states = new Map<string, string>();

function note(component: string, state: string): void {
  if (states.get(component) === state) return;
  states.set(component, state);
  process.stdout.write(`${JSON.stringify({ at: Date.now(), component, state })}\n`);
}

function watch(component: keyof typeof targets): void {
  const url = targets[component];
  const options = { agent: false, timeout: 3_000 };
  const sent = url.startsWith('https:')
    ? getSecure(url, { ...options, rejectUnauthorized: false })
    : get(url, options);
  const again = (): void => {
    setTimeout(() => watch(component), 200);
  };
  sent.once('close', again);
  sent.once('timeout', () => sent.destroy(new Error('timeout')));
  sent.once('error', (error) => {
    note(component, error.message === 'timeout' ? 'unhealthy' : 'down');
  });
  sent.once('response', (response) => {
    note(component, response.statusCode === 200 ? 'healthy' : 'unhealthy');
    response.resume();
  });
}

watch('etcd');
watch('kube-apiserver');
