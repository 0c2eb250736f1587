import { readFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { requireWholePair } from './pairs.ts';

// The lint rule is about browser windows; a MessagePort has no origin.
/* oxlint-disable unicorn/require-post-message-target-origin */

/**
 * Opens and parses the key pair as fast as possible until the first number of `shared` is set, and
 * reports the serials and faults that it found. The second number counts the serials.
 */
const { link, shared } = workerData as { link: string; shared: Int32Array };
const serials = new Set<string>();
const faults: string[] = [];
let reads = 0;
do {
  try {
    serials.add(requireWholePair(readFileSync(link)));
  } catch (error) {
    faults.push(String(error));
  }
  reads += 1;
  Atomics.store(shared, 1, serials.size);
  if (reads === 1) parentPort?.postMessage('reading');
} while (Atomics.load(shared, 0) === 0);
parentPort?.postMessage({ reads, serials: [...serials], faults });
