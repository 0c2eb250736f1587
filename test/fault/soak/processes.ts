import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { client, serving, TestNode } from '../../support/agent.ts';
import { startSandboxControlPlane } from '../../support/sandbox-control-plane.ts';
import { scaled } from '../../support/machine-speed.ts';

/** The kernel's counters of one process. */
export interface ProcessSample {
  readonly count: number;
  readonly fileDescriptors: number;
  readonly anonymous: number;
}

/**
 * So many certificates that the enroller never exits, with lifetimes that make one
 * rotate every few seconds.
 */
const servers = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
const signingSeconds = scaled(15);

/** Samples the released agent with both processes while it rotates in real time. */
export async function observeProcesses(
  rotations: number,
  signal: AbortSignal,
): Promise<readonly ProcessSample[]> {
  await using controlPlane = await startSandboxControlPlane({
    signingSeconds,
    approvingServing: true,
  });
  const addresses = { from: 'static', dnsNames: ['soak'], ipAddresses: ['10.0.0.1'] };
  await using node = await TestNode.create(controlPlane, 'soak', {
    certificates: [client, ...servers.map((name) => ({ ...serving, name, addresses }))],
  });
  const agent = node.start({ command: join(import.meta.dirname, '../../../dist/nodecertd') });
  const samples: ProcessSample[] = [];
  for (let count = 0; count < rotations; count += step) {
    signal.throwIfAborted();
    await agent.event('certificate_stored', undefined, count + step);
    samples.push(await held(agent.pid, count + step));
  }
  return samples;
}

const step = 4;

async function held(pid: number, count: number): Promise<ProcessSample> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const kilobytes = /^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1];
  const fileDescriptors = (await readdir(`/proc/${pid}/fd`)).length;
  return { count, fileDescriptors, anonymous: Number(kilobytes) * 1024 };
}
