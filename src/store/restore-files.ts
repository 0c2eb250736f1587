import { isDeepStrictEqual } from 'node:util';
import { AgentError } from '../core/errors.ts';
import { removeStrays } from './atomic-file.ts';
import { unlessMissing } from '../sys/file-error.ts';
import { readContent, replaceContents } from './file-content.ts';
import type { FileContent } from './file-content.ts';
import type { Restoration } from './run-folder.ts';
import type { Tree } from '../sys/tree.ts';

/** A file to restore: its current and its previous content. */
export interface RestorableFile {
  readonly path: string;
  readonly item?: string;
  readonly physical: string;
  /** Absent when there is no file. */
  readonly current?: FileContent;
  readonly target?: FileContent;
  readonly kind: 'done' | 'ready' | 'changed-since';
}

/** @throws AgentError STORE_*, and FILE_CHANGED when the copy of a file was changed */
export async function inspectFiles(
  tree: Tree,
  restorations: readonly Restoration[],
): Promise<RestorableFile[]> {
  return Promise.all(restorations.map((restoration) => inspect(tree, restoration)));
}

async function inspect(
  tree: Tree,
  { path, item, known, target: previous }: Restoration,
): Promise<RestorableFile> {
  const { physical } = await tree.locate(path);
  const current = await readContent(physical);
  const target = previous && (await backupOf(path, previous));
  const files = {
    path,
    physical,
    ...(item !== undefined && { item }),
    ...(current && { current }),
    ...(target && { target }),
  };
  if (isDeepStrictEqual(current?.state, target?.state)) return { ...files, kind: 'done' };
  // A deleted file contains no later change to overwrite.
  const isUnchanged = current === undefined || known.has(current.state.sha256);
  return { ...files, kind: isUnchanged ? 'ready' : 'changed-since' };
}

/** The owner and mode come from the manifest, and the content and its time from the copy. */
async function backupOf(
  path: string,
  { state, backup }: NonNullable<Restoration['target']>,
): Promise<FileContent> {
  const content = await readContent(backup);
  if (content?.state.sha256 === state.sha256) return { ...content, state };
  throw new AgentError('FILE_CHANGED', `${backup}, the copy of ${path}, was changed`, {
    remedy: `Restore ${path} from another backup, and delete the folder of the copy`,
  });
}

/** Refuses to overwrite later changes of other programs. @throws AgentError FILE_CHANGED */
export function refuseLaterChanges(
  files: readonly RestorableFile[],
  { change, remedy }: { readonly change: string; readonly remedy: string },
): void {
  const changed = files.filter(({ kind }) => kind === 'changed-since').map(({ path }) => path);
  if (changed.length === 0) return;
  throw new AgentError(
    'FILE_CHANGED',
    `these files were changed after ${change}: ${changed.join(', ')}`,
    { remedy },
  );
}

/**
 * Replaces each file atomically and syncs it, and the files of one item together. Each file keeps
 * its original modification time. Removes the temporary files of a crashed run. Wipes the contents,
 * which may be keys.
 * @param prepare see `replaceContents`
 * @throws AgentError STORE_*
 */
export async function restoreFiles(
  files: readonly RestorableFile[],
  prepare?: Parameters<typeof replaceContents>[1],
): Promise<void> {
  try {
    for (const group of byItem(files)) await restoreGroup(group, prepare);
  } finally {
    wipe(files);
  }
}

async function restoreGroup(
  group: readonly RestorableFile[],
  prepare?: Parameters<typeof replaceContents>[1],
): Promise<void> {
  for (const { physical } of group) await unlessMissing(() => removeStrays(physical));
  const pending = group.filter(({ kind }) => kind !== 'done');
  const files = pending.map(({ physical, target }) => ({ path: physical, content: target }));
  await replaceContents(files, prepare);
}

export function wipe(files: readonly RestorableFile[]): void {
  for (const { current, target } of files) {
    current?.bytes.fill(0);
    target?.bytes.fill(0);
  }
}

/** Files without an item are a group each. */
function byItem(files: readonly RestorableFile[]): RestorableFile[][] {
  const groups: RestorableFile[][] = [];
  for (const file of files) {
    const last = groups.at(-1);
    if (file.item !== undefined && last?.[0]?.item === file.item) last.push(file);
    else groups.push([file]);
  }
  return groups;
}
