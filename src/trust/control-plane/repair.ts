import { AgentError, hasCode } from '../../core/errors.ts';
import type { KubernetesDirectories } from '../../pki/layout.ts';
import { Tree } from '../../sys/tree.ts';
import type { GateReason } from '../cluster/gate.ts';
import { sideNames } from '../cluster/gates/verdict.ts';
import { applyCommand } from './apply-command.ts';
import type { RolloverNode } from './node-files.ts';
import { caPath, readRolloverNode } from './node-files.ts';
import { latestStep, missingAuthorities, repairingStep } from './stage.ts';
import type { Stage } from './task.ts';

/**
 * The command that writes the files of this node again. Undefined outside of a rollover, for a user
 * who may not read the keys, and for files that no step can repair.
 */
export async function repairOn(directories: KubernetesDirectories): Promise<string | undefined> {
  const begun = await begunRollover(directories);
  return begun && repairOf(begun);
}

/**
 * Why kube-apiserver on this node has rejected the certificate of an administrator: `ca.crt` lacks its CA,
 * for example after a restore from a backup. A step of `apply` needs the API server, so the file has to be
 * written by hand first. Undefined for another error, and on a node whose `ca.crt` has both CAs.
 */
export async function lostAuthority(
  error: unknown,
  directories: KubernetesDirectories,
): Promise<Required<Omit<GateReason, 'objects'>> | undefined> {
  if (!hasCode(error, 'API_UNAUTHORIZED')) return undefined;
  const begun = await begunRollover(directories);
  const missing = begun === undefined ? [] : missingAuthorities(begun.node, begun.latest);
  if (begun === undefined || missing.length === 0) return undefined;
  const trusted = caPath(begun.node, 'trusted');
  const names = missing.map((side) => sideNames[side]).join(' and ');
  return {
    state: 'harmful',
    message: `${trusted} lacks ${names}, so kube-apiserver on this node rejects clients with a certificate from it (${error.message})`,
    remedy: `Write both CAs into it: cp ${caPath(begun.node, 'bundle')} ${trusted}; then run: ${repairOf(begun)}`,
  };
}

interface BegunRollover {
  readonly node: RolloverNode;
  readonly latest: Exclude<Stage, 'create'>;
}

function repairOf({ node, latest }: BegunRollover): string {
  return applyCommand(repairingStep(node, latest), node.ca);
}

/** Undefined for a user who may not read the keys, and for files that no step can repair. */
async function begunRollover(
  directories: KubernetesDirectories,
): Promise<BegunRollover | undefined> {
  try {
    const node = await readRolloverNode({ ca: 'kubernetes', tree: new Tree('/'), directories });
    const latest = node && (await latestStep(node));
    if (node === undefined || latest === undefined || latest === 'create') return undefined;
    return { node, latest };
  } catch (error) {
    if (error instanceof AgentError) return undefined;
    throw error;
  }
}
