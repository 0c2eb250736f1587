import { join } from 'node:path';
import type { Instant } from '../core/instant.ts';
import { syncDirectory, writeNewFile } from './atomic-file.ts';
import type { BackedUpChange } from './run-folder.ts';
import { backUp, makeRunFolder, runTime, sweep } from './run-folder.ts';
import type { FileChange, Manifest, Run } from './run-manifest.ts';
import { writeManifest } from './run-manifest.ts';

/**
 * Creates the folder of a run: the plan and the copies, then the manifest that names the copies. Leaves no folder
 * behind if the disk is full.
 * @throws AgentError STORE_*
 */
export async function startRun({
  directory,
  sequence,
  now,
  kind,
  version,
  step,
  ca,
  changes,
  plan,
}: {
  readonly directory: string;
  readonly sequence: number;
  readonly now: () => Instant;
  readonly kind: Manifest['kind'];
  readonly version: string;
  /** The step of a CA rollover. */
  readonly step?: string;
  /** The CA of a CA rollover. */
  readonly ca?: string;
  /** None for a run whose files change one item after the other. */
  readonly changes: readonly BackedUpChange[];
  /** The document of the plan, stored beside the copies. */
  readonly plan?: unknown;
}): Promise<Run> {
  const folder = await makeRunFolder({ directory, sequence, now });
  try {
    await syncDirectory(directory);
    if (plan !== undefined) {
      const text = `${JSON.stringify(plan, undefined, 2)}\n`;
      await writeNewFile(join(folder, 'plan.json'), Buffer.from(text), 0o600);
    }
    const copies: FileChange[] = [];
    for (const change of changes) copies.push(await backUp(folder, change));
    const manifest: Manifest = {
      apiVersion: 'nodecertd.io/v1alpha1',
      kind,
      ...(step !== undefined && { step }),
      ...(ca !== undefined && { ca }),
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
