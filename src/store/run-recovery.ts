import { without } from '../core/without.ts';
import type { Clock } from '../sys/clock.ts';
import type { Tree } from '../sys/tree.ts';
import { isInPlace } from './change-checks.ts';
import type { CopyAttributes } from './file-attributes.ts';
import type { RestorableFile } from './restore-files.ts';
import { inspectFiles, refuseLaterChanges, restoreFiles } from './restore-files.ts';
import type { Runs } from './run-folder.ts';
import { readRuns, restorations, runTime, sweep } from './run-folder.ts';
import type { FileChange, Run } from './run-manifest.ts';
import { writeManifest } from './run-manifest.ts';

/** The runs of a command, and how their files are restored. */
export interface RunRecovery {
  readonly tree: Tree;
  /** The folder of all runs. This process has locked it. */
  readonly directory: string;
  readonly clock: Clock;
  readonly copyAttributes: CopyAttributes;
  /**
   * The words for the refusal to restore a file that another program has changed after a run. If
   * absent, such a file stays as it is, and the others are restored.
   */
  readonly laterChanges?: Parameters<typeof refuseLaterChanges>[1];
  /**
   * Called after files are restored, and before their copies are deleted, for what has to use them.
   * After an error or a crash, the next command calls it again.
   */
  readonly onRestored?: (files: readonly Pick<RestorableFile, 'item'>[]) => Promise<void>;
  /**
   * True for a file whose change restarts a program that reads files of other items, so that a rollback
   * restores it after them.
   */
  readonly isRestoredLast?: (file: Pick<RestorableFile, 'item'>) => boolean;
  /** Restored files get the current time instead of their original one. */
  readonly touches?: true;
}

/** The first run that a crash interrupted. */
export function interruptedRun({ active }: Runs): Run | undefined {
  return active.find(({ manifest }) => manifest.state !== 'applied');
}

/** The runs to undo: the target and every later one. */
export function runsSince({ active }: Runs, target: Run): Run[] {
  return active.slice(active.findIndex(({ folder }) => folder === target.folder));
}

/** Marks a run as complete, and deletes the runs before the last `keep` ones. */
export async function finishRun(
  run: Run,
  { directory, clock }: Pick<RunRecovery, 'directory' | 'clock'>,
  keep: number,
): Promise<void> {
  const finishedAt = runTime(clock.now());
  await writeManifest({ ...run, manifest: { ...run.manifest, state: 'applied', finishedAt } });
  const { active, obsolete } = await readRuns(directory);
  const old = active.slice(0, Math.max(active.length - keep, 0));
  await sweep(directory, [...obsolete, ...old.map(({ folder }) => folder)]);
}

/**
 * Completes an interrupted run: finishes a rollback; keeps the items whose files were all replaced,
 * and restores the files of the others.
 * @returns the names of the items that stay changed
 * @throws AgentError FILE_CHANGED, STORE_*
 */
export async function completeRuns(recovery: RunRecovery): Promise<readonly string[]> {
  const { directory } = recovery;
  const runs = await readRuns(directory);
  const run = interruptedRun(runs);
  let kept: readonly string[] = [];
  if (run?.manifest.state === 'reverting') {
    await rollBack({ runs, target: run, force: false }, recovery);
  } else if (run !== undefined) {
    kept = await completeRun(run, recovery);
  }
  await sweep(directory, (await readRuns(directory)).obsolete);
  return kept;
}

async function completeRun(run: Run, recovery: RunRecovery): Promise<readonly string[]> {
  const { directory, clock } = recovery;
  const { folder, manifest } = run;
  const items = Map.groupBy(manifest.changes, ({ item, path }) => item ?? path);
  const kept: FileChange[] = [];
  for (const changes of items.values()) {
    if (await isInPlace(changes)) kept.push(...changes);
    else await restoreRun({ folder, manifest: { ...manifest, changes } }, recovery);
  }
  if (kept.length === 0) {
    await sweep(directory, [folder]);
    return [];
  }
  const finishedAt = runTime(clock.now());
  await writeManifest({
    folder,
    manifest: { ...manifest, state: 'applied', finishedAt, changes: kept },
  });
  return kept.flatMap(({ item }) => item ?? []);
}

/** Restores the files of one run. @throws AgentError FILE_CHANGED, STORE_* */
export async function restoreRun(run: Run, recovery: Omit<RunRecovery, 'clock'>): Promise<void> {
  const files = await inspectFiles(recovery.tree, restorations([run]));
  await restoreFiles(restorable(files, recovery), recovery.copyAttributes);
  await recovery.onRestored?.(files);
}

/**
 * Restores the files as they were before a run. The manifest says `reverting` before the first
 * file is changed, and the folder of the target is deleted last, so that the next command can
 * continue after a crash.
 * @throws AgentError FILE_CHANGED unless forced, STORE_*
 */
export async function rollBack(
  { runs, target, force }: { readonly runs: Runs; readonly target: Run; readonly force: boolean },
  recovery: Omit<RunRecovery, 'clock'>,
): Promise<void> {
  const { tree, directory, copyAttributes, onRestored, isRestoredLast = () => false } = recovery;
  const undone = runsSince(runs, target);
  const found = await inspectFiles(tree, restorations(undone));
  const files = [
    ...found.filter((file) => !isRestoredLast(file)),
    ...found.filter((file) => isRestoredLast(file)),
  ];
  const restored = restorable(files, force ? { ...recovery, laterChanges: 'discard' } : recovery);
  await writeManifest({ ...target, manifest: { ...target.manifest, state: 'reverting' } });
  await restoreFiles(restored, copyAttributes);
  await onRestored?.(files);
  await sweep(
    directory,
    undone.toReversed().map(({ folder }) => folder),
  );
}

/** @throws AgentError FILE_CHANGED */
function restorable(
  files: readonly RestorableFile[],
  {
    laterChanges,
    touches,
  }: Pick<RunRecovery, 'touches'> & {
    readonly laterChanges?: RunRecovery['laterChanges'] | 'discard';
  },
): readonly RestorableFile[] {
  const all = touches === true ? files.map(withoutTime) : files;
  if (laterChanges === 'discard') return all;
  if (laterChanges === undefined) return all.filter(({ kind }) => kind !== 'changed-since');
  refuseLaterChanges(files, laterChanges);
  return all;
}

function withoutTime({ target, ...file }: RestorableFile): RestorableFile {
  return { ...file, ...(target && { target: without(target, 'modifiedAt') }) };
}
