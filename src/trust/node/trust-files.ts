import { join } from 'node:path';
import type { CopyAttributes } from '../../store/file-attributes.ts';
import { attributeCopier } from '../../store/file-attributes.ts';
import type { RunRecovery } from '../../store/run-recovery.ts';
import type { Clock } from '../../sys/clock.ts';
import { Tree } from '../../sys/tree.ts';

/** Where the copies of changed files are, and what a change needs. */
export interface TrustFiles {
  readonly stateDirectory: string;
  readonly clock: Clock;
  readonly version: string;
  /** By default `cp` of coreutils copies them. */
  readonly copyAttributes?: CopyAttributes;
}

/** The folder of all runs. The caller locks it. */
export function trustDirectory({ stateDirectory }: Pick<TrustFiles, 'stateDirectory'>): string {
  return join(stateDirectory, 'trust');
}

/**
 * A file that another program has changed after a run stays as it is. The time of a restored file
 * shows that a kubelet which started before has not read it.
 */
export function recoveryOf(files: TrustFiles): RunRecovery {
  const { clock, copyAttributes = attributeCopier(clock) } = files;
  const directory = trustDirectory(files);
  return { tree: new Tree('/'), directory, clock, copyAttributes, touches: true };
}
