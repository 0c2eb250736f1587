import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { encodeCertificates } from '../../../src/core/pem.ts';
import type { TrustAuthority } from '../../../src/core/trust.ts';
import { applyTrust, rollBackTrust } from '../../../src/trust/node/apply.ts';
import { nodeFilesAt, writeNodeFiles } from '../../trust/node/node-files.ts';
import { filesAt } from './change.ts';

interface Reading {
  readonly reads: number;
  readonly faults: readonly string[];
}

/**
 * Changes the CAs of a node many times, with some rollbacks and moves to a file, while a reader
 * reads them all the time. Every state has two CAs.
 */
export async function changeUnderReader(
  root: string,
  {
    old,
    others,
    count,
    signal,
  }: {
    readonly old: TrustAuthority;
    readonly others: readonly TrustAuthority[];
    readonly count: number;
    readonly signal: AbortSignal;
  },
): Promise<Reading> {
  const [, last = old] = others;
  await writeNodeFiles(root, new TextDecoder().decode(encodeCertificates([old, last])));
  const { kubeconfig, caFile, find } = nodeFilesAt(root);
  const shared = new Int32Array(new SharedArrayBuffer(4));
  const workerData = { kubeconfig, caFile, old: old.fingerprint, shared };
  const reader = new Worker(new URL('reader.worker.ts', import.meta.url), { workerData });
  await once(reader, 'message');
  for (let made = 0; made < count; made += 1) {
    signal.throwIfAborted();
    const other = others[made % others.length] ?? last;
    const isLast = made % 10 === 9;
    const { places } = await find({ externalize: isLast });
    const changes = places.map((place) => ({ place, authorities: [old, other] }));
    await applyTrust(filesAt(root), { changes, verify: async () => undefined });
    if (isLast) await rollBackTrust(filesAt(root), { force: false });
  }
  const report = once(reader, 'message');
  Atomics.store(shared, 0, 1);
  const [reading] = (await report) as [Reading];
  return reading;
}
