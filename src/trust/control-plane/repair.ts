import { AgentError } from '../../core/errors.ts';
import type { KubernetesDirectories } from '../../pki/layout.ts';
import { Tree } from '../../sys/tree.ts';
import { applyCommand } from './apply-command.ts';
import { readRolloverNode } from './node-files.ts';
import { latestStep, repairingStep } from './stage.ts';

/**
 * The command that writes the files of this node again. Undefined outside of a rollover, for a user
 * who may not read the keys, and for files that no step can repair.
 */
export async function repairOn(directories: KubernetesDirectories): Promise<string | undefined> {
  const ca = 'kubernetes';
  try {
    const node = await readRolloverNode({ ca, tree: new Tree('/'), directories });
    const latest = node && (await latestStep(node));
    if (node === undefined || latest === undefined || latest === 'create') return undefined;
    return applyCommand(repairingStep(node, latest), ca);
  } catch (error) {
    if (error instanceof AgentError) return undefined;
    throw error;
  }
}
