import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import type { PairCounts } from '../real/pair-reader.worker.ts';
import { RealKubeadmTree } from '../support/kubeadm-tree.ts';
import { nodecertd } from './inventory.ts';
import type { Row } from './table.ts';

export const readerPrograms = ['kubeadm', 'nodecertd'];

/**
 * Renews one certificate again and again with each program, while a reader reads the certificate
 * and then the key every millisecond, and counts what it sees.
 */
export async function measureReader(renewals: number): Promise<Row[]> {
  await using theirs = await RealKubeadmTree.create({ algorithm: 'ECDSA-P256' });
  await using ours = await theirs.copy();
  const options = ['--yes', '--no-verify', '--restart', 'never', '--kubernetes-dir'];
  const renew = ['certs', 'renew', 'apiserver', ...options, ours.kubernetes];
  const counts = [
    await watched(theirs, renewals, () => theirs.kubeadm('certs', 'renew', 'apiserver')),
    await watched(ours, renewals, () => renewOnce(renew)),
  ];
  const row = (label: string, pick: (counts: PairCounts) => number, digits = 0): Row => ({
    label: `${renewals} renewals: ${label}`,
    values: counts.map(pick),
    digits,
  });
  return [
    row('reads of certificate and key', ({ reads }) => reads),
    row('empty or truncated', ({ truncated }) => truncated),
    row('certificate and key that do not match', ({ mismatched }) => mismatched),
    row('… per 1,000 renewals', ({ mismatched }) => (mismatched / renewals) * 1000, 1),
  ];
}

/** With --no-verify, a successful renewal exits with 3. */
async function renewOnce(args: readonly string[]): Promise<void> {
  try {
    await promisify(execFile)(nodecertd, args);
  } catch (error) {
    if ((error as { code?: unknown }).code !== 3) throw error;
  }
}

async function watched(
  { certificates }: RealKubeadmTree,
  renewals: number,
  renew: () => Promise<unknown>,
): Promise<PairCounts> {
  const worker = new Worker(new URL('../real/pair-reader.worker.ts', import.meta.url), {
    workerData: {
      certificate: join(certificates, 'apiserver.crt'),
      key: join(certificates, 'apiserver.key'),
      pauseMs: 1,
    },
  });
  await new Promise((resolve) => worker.once('message', resolve));
  for (let time = 0; time < renewals; time += 1) await renew();
  const counts = new Promise<PairCounts>((resolve) => worker.once('message', resolve));
  worker.postMessage('stop');
  const found = await counts;
  await worker.terminate();
  return found;
}
