import { once } from 'node:events';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:https';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { stringify } from 'yaml';
import { day } from '../../../src/core/instant.ts';
import type { ComponentRestart } from '../../../src/pki/renewal/restart.ts';
import type { Clock } from '../../../src/sys/clock.ts';
import { temporaryDirectory } from '../../store/pairs.ts';
import { fakeProc } from '../../sys/fake-proc.ts';
import { pod } from '../components/manifests.ts';
import { makeCa, makeLeaf } from '../kubeadm-tree.ts';

export const scheduler = pod({
  name: 'kube-scheduler',
  command: ['kube-scheduler', '--leader-elect'],
});

/** Time passes only in sleep(), ten times as fast, so that a test needs few handshakes. */
export class SteppingClock implements Clock {
  readonly #start: number;
  readonly #meanwhile: () => Promise<void>;
  #elapsed = 0;

  constructor(
    meanwhile: () => Promise<void> = async () => undefined,
    start = Date.UTC(2026, 10, 28),
  ) {
    this.#meanwhile = meanwhile;
    this.#start = start;
  }

  now(): number {
    return this.#start + this.#elapsed;
  }

  elapsed(): number {
    return this.#elapsed;
  }

  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#elapsed += 10 * ms;
    await this.#meanwhile();
  }
}

const process = { mounts: 'mnt:[1]', parent: 1, cgroup: '0::/\n' };
const kubelet = { ...process, cmdline: '/usr/bin/kubelet\0' };
const running = { ...process, cmdline: 'kube-scheduler\0--leader-elect\0' };

/** The id of the kubelet, and of the first process of the component. */
export const pids = { kubelet: '7', component: '8' } as const;

export interface FakeNode {
  readonly directory: string;
  readonly restart: ComponentRestart & { readonly by: { readonly kind: 'manifest' } };
  readonly manifest: string;
  /** The first text of the manifest. */
  readonly text: string;
  readonly proc: string;
  /** The status code of /healthz. */
  answer: number;
  /** False if the component does not start with this manifest, or after these calls of systemctl. */
  canStart: (manifest: string) => boolean;
}

/** A manifest, its running process, and the port that answers /healthz. */
export async function fakeNode(test: TestContext, text = stringify(scheduler)): Promise<FakeNode> {
  const directory = await temporaryDirectory(test);
  const manifest = join(directory, 'manifests/kube-scheduler.yaml');
  await mkdir(join(directory, 'manifests'));
  await writeFile(manifest, text, { mode: 0o600 });
  const proc = join(directory, 'proc');
  await mkdir(join(proc, 'self/ns'), { recursive: true });
  await fakeProc(proc, { [pids.kubelet]: kubelet, [pids.component]: running });
  const found = { directory, manifest, text, proc, answer: 200, canStart: () => true };
  const port = await servePort(test, () => found.answer);
  return Object.assign(found, {
    restart: {
      component: 'kube-scheduler',
      by: { kind: 'manifest', path: manifest },
      health: { host: '127.0.0.1', port },
    } as const,
  });
}

async function servePort(test: TestContext, answer: () => number): Promise<number> {
  const validity = { notBefore: Date.now() - day, notAfter: Date.now() + day };
  const ca = await makeCa('localhost-ca@1', validity);
  const leaf = await makeLeaf(ca, {
    ...validity,
    subject: 'CN=localhost@1',
    usages: ['server auth'],
  });
  const server = createServer({ cert: leaf.pem, key: leaf.keyPem }, (request, response) => {
    response.writeHead(request.url === '/healthz' ? answer() : 404).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  test.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

/** What the kubelet does: it replaces the process when the pod has changed. */
export function kubeletOf(node: FakeNode): () => Promise<void> {
  return replacerOf(node, node.text, () => readFile(node.manifest, 'utf8'));
}

/** Replaces the process of the component when a text has changed. */
export function replacerOf(
  node: FakeNode,
  first: string,
  read: () => Promise<string>,
): () => Promise<void> {
  let [known, pid] = [first, Number(pids.component)];
  return async () => {
    const text = await read();
    if (text === known) return;
    known = text;
    await rm(join(node.proc, `${pid}`), { recursive: true, force: true });
    pid += 1;
    if (node.canStart(text)) await fakeProc(node.proc, { [pid]: { ...running, ageSeconds: 0 } });
  };
}
