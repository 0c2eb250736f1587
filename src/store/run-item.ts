import { AgentError, describeError } from '../core/errors.ts';
import { requireUnchanged, requireWritten } from './change-checks.ts';
import { replaceContents } from './file-content.ts';
import { inspectFiles, restoreFiles } from './restore-files.ts';
import type { NewChange } from './run-folder.ts';
import { backUp, restorations } from './run-folder.ts';
import type { FileChange, Run } from './run-manifest.ts';
import { writeManifest } from './run-manifest.ts';
import type { RunRecovery } from './run-recovery.ts';

/** Files that are replaced together, and what has to succeed with the new files. */
export interface RunItem<T> {
  /** In the words of the message after a failure. */
  readonly name: string;
  /** In the order in which the files are replaced. */
  readonly changes: readonly NewChange[];
  /** Called when all files are in place. An error restores them. */
  readonly prove: () => Promise<T>;
  /** The command that restores the files if this run cannot. */
  readonly restoreCommand: string;
}

type ItemRecovery = Pick<RunRecovery, 'tree' | 'copyAttributes' | 'onRestored'>;

/** The run stays as it is: the next command needs its manifest and its copies to restore the files. */
export class UnrestoredError extends AgentError {}

/**
 * Replaces the files of one item of a run. The copies and the manifest are on disk before the first
 * file is replaced, so that the next run can complete or undo this item after a crash.
 * @returns the run with the changes of this item
 * @throws the error of the item, after its files are restored; UnrestoredError if they are not
 */
export async function changeItem<T>(
  run: Run,
  item: RunItem<T>,
  recovery: ItemRecovery,
): Promise<{ readonly run: Run; readonly result: T }> {
  const { name, changes, prove } = item;
  const copies: FileChange[] = [];
  for (const change of changes) copies.push(await backUp(run.folder, change));
  const { folder, manifest } = run;
  // Files are restored in the reverse order, and the certificate comes first then, too.
  const begun: Run = {
    folder,
    manifest: { ...manifest, changes: [...manifest.changes, ...copies.toReversed()] },
  };
  await requireUnchanged(changes);
  await writeManifest(begun);
  try {
    const files = changes.map(({ path, after }) => ({ path, content: after }));
    await replaceContents(files, recovery.copyAttributes);
    await requireWritten(changes);
    return { run: begun, result: await prove() };
  } catch (error) {
    const only: Run = { folder, manifest: { ...manifest, changes: copies.toReversed() } };
    await restoreItem({ before: run, only, item }, recovery, error);
    throw error instanceof AgentError
      ? error.withMessage(`${error.message}; the previous files of ${name} are in place`)
      : error;
  }
}

/** @throws UnrestoredError STORE_IO with both errors, when a file cannot be restored */
async function restoreItem(
  {
    before,
    only,
    item,
  }: { readonly before: Run; readonly only: Run; readonly item: RunItem<unknown> },
  { tree, copyAttributes, onRestored }: ItemRecovery,
  cause: unknown,
): Promise<void> {
  try {
    const files = await inspectFiles(tree, restorations([only]));
    await restoreFiles(files, copyAttributes);
    await onRestored?.(files);
    await writeManifest(before);
  } catch (error) {
    const message = `${describeError(cause)}; then a changed file could not be restored: ${describeError(error)}`;
    throw new UnrestoredError('STORE_IO', message, {
      cause,
      remedy: `Fix the second error, then run: ${item.restoreCommand}; the copies are in ${only.folder}`,
    });
  }
}
