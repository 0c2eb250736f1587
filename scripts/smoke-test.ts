/**
 * Starts the built agent on the sandbox until it has stored its first certificate.
 * Fails if the agent does not get there, or if it does not use its compile cache, which
 * no other test would notice.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { stringify } from 'yaml';
import { startSandbox } from '../test/sandbox/sandbox.ts';
import { systemClock } from '../src/sys/clock.ts';

const directory = resolve(process.argv[2] ?? 'dist');
const work = await mkdtemp(join(tmpdir(), 'nodecertd-build-'));
const sandbox = await startSandbox({ clock: systemClock, signingSeconds: 3600 });
try {
  await writeFile(join(work, 'bootstrap.conf'), sandbox.bootstrapKubeconfig(), { mode: 0o600 });
  const configuration = {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'AgentConfiguration',
    nodeName: 'build',
    kubeconfig: join(work, 'kubelet.conf'),
    bootstrapKubeconfig: join(work, 'bootstrap.conf'),
    certificateDirectory: join(work, 'pki'),
    stateDirectory: join(work, 'state'),
    store: { acceptVolatileDirectory: true },
    metrics: { address: '127.0.0.1:0' },
    log: { level: 'debug' },
  };
  await writeFile(join(work, 'config.yaml'), stringify(configuration));
  await runUntilStored(join(work, 'config.yaml'));
} finally {
  await sandbox[Symbol.asyncDispose]();
  await rm(work, { recursive: true, force: true });
}

async function runUntilStored(config: string): Promise<void> {
  const agent = spawn(join(directory, 'nodecertd'), ['run', '--config', config], {
    stdio: ['ignore', 'inherit', 'pipe'],
    env: { ...process.env, NODE_DEBUG_NATIVE: 'COMPILE_CACHE' },
  });
  const impatient = setTimeout(() => agent.kill('SIGKILL'), 60_000);
  const exit = once(agent, 'exit');
  const lines: string[] = [];
  const cacheLines: string[] = [];
  for await (const line of createInterface({ input: agent.stderr })) {
    (line.startsWith('[compile cache]') ? cacheLines : lines).push(line);
    if (line.includes('"certificate_stored"')) agent.kill('SIGTERM');
  }
  const [code] = (await exit) as [number | null];
  clearTimeout(impatient);
  if (code !== 0) throw new Error(`the built agent failed:\n${lines.join('\n')}`);
  const unused = cacheLines.filter((line) => /was (?:not initialized|rejected)/.test(line));
  const used = cacheLines.filter((line) => line.includes('was accepted'));
  if (unused.length > 0 || used.length === 0) {
    throw new Error(`the compile cache is not used:\n${unused.join('\n')}`);
  }
}
