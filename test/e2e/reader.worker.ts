import { readFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { parsePair } from '../support/agent.ts';

export interface ReaderReport {
  readonly reads: number;
  /** The different serial numbers of each file, in the order in which they appeared. */
  readonly serials: Readonly<Record<string, readonly string[]>>;
  /** The first failures. */
  readonly faults: readonly string[];
}

const { files, stop } = workerData as {
  readonly files: readonly string[];
  readonly stop: Int32Array;
};
const serials: Record<string, string[]> = Object.fromEntries(files.map((file) => [file, []]));
const faults: string[] = [];
let reads = 0;

// As fast as possible: every read opens the link again, parses the pair, and checks
// that the key matches.
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
