import { readFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { parsePair } from '../support/agent.ts';

export interface ReaderReport {
  readonly reads: number;
  /** Distinct serial numbers in the order in which they appeared, by file. */
  readonly serials: Readonly<Record<string, readonly string[]>>;
  /** What went wrong, the first few. */
  readonly faults: readonly string[];
}

const { files, stop } = workerData as {
  readonly files: readonly string[];
  readonly stop: Int32Array;
};
const serials: Record<string, string[]> = Object.fromEntries(files.map((file) => [file, []]));
const faults: string[] = [];
let reads = 0;

// As hard as it can: every read opens the link anew, parses, and tries the key on the certificate.
while (Atomics.load(stop, 0) === 0) {
  for (const file of files) {
    reads += 1;
    try {
      const { serialNumber } = parsePair(readFileSync(file, 'utf8'));
      if (serials[file]?.at(-1) !== serialNumber) serials[file]?.push(serialNumber);
    } catch (error) {
      if (faults.length < 10) faults.push(`${file}: ${String(error)}`);
    }
  }
}

parentPort?.postMessage({ reads, serials, faults } satisfies ReaderReport);
