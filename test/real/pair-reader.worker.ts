import { X509Certificate, createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';

/** What a reader saw that reads the certificate and then the key, as Go's LoadX509KeyPair does. */
export interface PairCounts {
  reads: number;
  /** Certificate and key are each complete, but do not belong together. */
  mismatched: number;
  /** Empty or cut off. */
  truncated: number;
}

interface PairReaderOptions {
  readonly certificate: string;
  readonly key: string;
  /** The pause after each read; without it, the reader never pauses. */
  readonly pauseMs?: number;
}

const { certificate, key, pauseMs } = workerData as PairReaderOptions;
const counts: PairCounts = { reads: 0, mismatched: 0, truncated: 0 };
const known = new Map<string, keyof PairCounts | undefined>();
let isStopped = false;

function judge(certificatePem: string, keyPem: string): keyof PairCounts | undefined {
  try {
    const matches = new X509Certificate(certificatePem).checkPrivateKey(createPrivateKey(keyPem));
    return matches ? undefined : 'mismatched';
  } catch {
    return 'truncated';
  }
}

function readOnce(): void {
  const pair = [readFileSync(certificate, 'latin1'), readFileSync(key, 'latin1')] as const;
  const id = pair.join('\0');
  // Parsing takes a hundred times longer than reading.
  if (!known.has(id)) known.set(id, judge(...pair));
  counts.reads += 1;
  const found = known.get(id);
  if (found !== undefined) counts[found] += 1;
}

function work(): void {
  if (isStopped) return parentPort?.postMessage(counts);
  for (let times = 0; times < (pauseMs === undefined ? 50 : 1); times += 1) readOnce();
  if (pauseMs === undefined) setImmediate(work);
  else setTimeout(work, pauseMs);
}

parentPort?.on('message', () => {
  isStopped = true;
});
parentPort?.postMessage('started');
work();
