import { basename } from 'node:path';
import type { Process } from '../sys/process.ts';
import { findProcesses } from '../sys/process.ts';

/**
 * Finds the kubelets of this machine by the name of the program. Excludes a kubelet in a
 * container, as in kind, because it has other files at the same paths.
 */
export async function findKubelets(proc?: string): Promise<Process[]> {
  const found = await findProcesses(isKubelet, proc);
  return found.filter(({ sharesMounts }) => sharesMounts);
}

function isKubelet([program = '']: readonly string[]): boolean {
  return basename(program) === 'kubelet';
}
