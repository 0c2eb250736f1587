import { readFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { parse } from 'yaml';
import { readAuthorities } from '../../../src/kube/authorities.ts';

// The lint rule is about browser windows; a MessagePort has no origin.
/* oxlint-disable unicorn/require-post-message-target-origin */

/**
 * Reads the CAs of a kubeconfig and of a PEM file all the time, as new processes would. Reports the
 * reads that find fewer than two CAs, or not the old one.
 */
const { kubeconfig, caFile, old, shared } = workerData as {
  readonly kubeconfig: string;
  readonly caFile: string;
  readonly old: string;
  readonly shared: Int32Array;
};

interface Cluster {
  readonly 'certificate-authority'?: string;
  readonly 'certificate-authority-data'?: string;
}

function embeddedOrNamed(): Uint8Array {
  const { clusters } = parse(readFileSync(kubeconfig, 'utf8')) as {
    readonly clusters: readonly { readonly cluster: Cluster }[];
  };
  const cluster = clusters.at(-1)?.cluster ?? {};
  const file = cluster['certificate-authority'];
  if (file !== undefined) return readFileSync(file);
  return Buffer.from(cluster['certificate-authority-data'] ?? '', 'base64');
}

let reads = 0;
const faults: string[] = [];
parentPort?.postMessage('reading');
while (Atomics.load(shared, 0) === 0) {
  for (const read of [embeddedOrNamed, () => readFileSync(caFile)]) {
    try {
      const { authorities, problems } = readAuthorities(read());
      const found = authorities.map(({ fingerprint }) => fingerprint);
      if (found.length < 2 || !found.includes(old) || problems.length > 0) {
        faults.push(`${found.length} CAs, ${problems.join()}`);
      }
    } catch (error) {
      faults.push(String(error));
    }
    reads += 1;
  }
}
parentPort?.postMessage({ reads, faults });
