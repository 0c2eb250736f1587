import { join } from 'node:path';
import { AgentError } from '../../core/errors.ts';
import { readRuns } from '../../store/run-folder.ts';
import { interruptedRun } from '../../store/run-recovery.ts';
import type { Manifest } from '../../store/run-manifest.ts';
import type { KubernetesDirectories } from '../layout.ts';
import { runsFolder } from './renewal-run.ts';

/**
 * The folder of the runs of `ca-rollover apply`. It is not the folder of `certs renew`, which keeps
 * only three runs, and whose rollback would undo them.
 */
export function rolloverDirectory({
  kubernetes,
}: Pick<KubernetesDirectories, 'kubernetes'>): string {
  return join(kubernetes, '.nodecertd-rollover');
}

/** The command whose run this is. */
export function rolloverCommand({ step, ca }: Pick<Manifest, 'step' | 'ca'>): string {
  return `nodecertd ca-rollover apply ${step ?? ''} --ca ${ca ?? 'kubernetes'}`;
}

/**
 * The files of an interrupted step may not match, and its completion would refuse or undo later
 * changes.
 * @throws AgentError STORE_LOCKED
 */
export async function requireNoInterruptedStep(
  directories: Pick<KubernetesDirectories, 'kubernetes'>,
): Promise<void> {
  const run = interruptedRun(await readRuns(rolloverDirectory(directories)));
  if (run === undefined) return;
  const command = rolloverCommand(run.manifest);
  throw new AgentError(
    'STORE_LOCKED',
    `${command} was interrupted, and changes files in ${directories.kubernetes}`,
    { remedy: `Complete it: ${command}; or undo it: ${command} --undo` },
  );
}

/**
 * The files of an interrupted renewal may not match, and its completion would refuse or undo later
 * changes.
 * @throws AgentError STORE_LOCKED
 */
export async function requireNoInterruptedRenewal({
  kubernetes,
}: Pick<KubernetesDirectories, 'kubernetes'>): Promise<void> {
  const run = interruptedRun(await readRuns(join(kubernetes, runsFolder)));
  if (run === undefined) return;
  throw new AgentError(
    'STORE_LOCKED',
    `nodecertd certs renew was interrupted, and changes files in ${kubernetes}`,
    {
      remedy: 'Complete it: nodecertd certs renew --due; or undo it: nodecertd certs rollback',
    },
  );
}
