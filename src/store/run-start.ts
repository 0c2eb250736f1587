import type { Instant } from '../core/instant.ts';
import { syncDirectory } from './atomic-file.ts';
import type { BackedUpChange } from './run-folder.ts';
import { backUp, makeRunFolder, runTime, sweep } from './run-folder.ts';
import type { FileChange, Manifest, Run } from './run-manifest.ts';
import { writeManifest } from './run-manifest.ts';

/**
 * Creates the folder of a run: the copies, then the manifest that names them. Leaves no folder
 * behind if the disk is full.
 * @throws AgentError STORE_*
 */
export async function startRun({
  directory,
  sequence,
  now,
  kind,
  version,
  changes,
}: {
  readonly directory: string;
  readonly sequence: number;
  readonly now: () => Instant;
  readonly kind: Manifest['kind'];
  readonly version: string;
  readonly changes: readonly BackedUpChange[];
}): Promise<Run> {
  const folder = await makeRunFolder({ directory, sequence, now });
  try {
    await syncDirectory(directory);
    const copies: FileChange[] = [];
    for (const change of changes) copies.push(await backUp(folder, change));
    const manifest: Manifest = {
      apiVersion: 'nodecertd.io/v1alpha1',
      kind,
      version,
      sequence,
      state: 'applying',
      startedAt: runTime(now()),
      changes: copies,
    };
    const run = { folder, manifest };
    await writeManifest(run);
    return run;
  } catch (error) {
    await sweep(directory, [folder]).catch(() => undefined);
    throw error;
  }
}
