import { isDeepStrictEqual } from 'node:util';
import { AgentError } from '../core/errors.ts';
import { removeStrays } from '../store/atomic-file.ts';
import { unlessMissing } from '../sys/file-error.ts';
import { readContent, replaceContent, removeContent } from './file-content.ts';
import type { FileContent } from './file-content.ts';
import type { Restoration } from './runs.ts';
import type { Tree } from '../sys/tree.ts';

/** A file to restore: its current and its previous content. */
export interface RestorableFile {
  readonly path: string;
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
  { path, known, target: previous }: Restoration,
): Promise<RestorableFile> {
  const { physical } = await tree.locate(path);
  const current = await readContent(physical);
  const target = previous && (await backupOf(path, previous));
  const files = { path, physical, ...(current && { current }), ...(target && { target }) };
  if (isDeepStrictEqual(current?.state, target?.state)) return { ...files, kind: 'done' };
  // A deleted file contains no later change to overwrite.
  const isUnchanged = current === undefined || known.has(current.state.sha256);
  return { ...files, kind: isUnchanged ? 'ready' : 'changed-since' };
}

/** The owner and mode come from the manifest, not from the copy. */
async function backupOf(
  path: string,
  { state, backup }: NonNullable<Restoration['target']>,
): Promise<FileContent> {
  const content = await readContent(backup);
  if (content?.state.sha256 === state.sha256) return { bytes: content.bytes, state };
  throw new AgentError('FILE_CHANGED', `${backup}, the copy of ${path}, was changed`, {
    remedy: `Restore ${path} from another backup, and delete the folder of the copy`,
  });
}

/** Refuses to overwrite later changes of other programs. @throws AgentError FILE_CHANGED */
export function refuseLaterChanges(files: readonly RestorableFile[]): void {
  const changed = files.filter(({ kind }) => kind === 'changed-since').map(({ path }) => path);
  if (changed.length === 0) return;
  throw new AgentError(
    'FILE_CHANGED',
    `these files were changed after the adoption: ${changed.join(', ')}`,
    {
      remedy:
        'Show the changes: nodecertd adopt --revert; discard them and restore the previous files: nodecertd adopt --revert --force --yes',
    },
  );
}

/**
 * Replaces each file atomically and syncs it. Removes the temporary files of a crashed run.
 * @throws AgentError STORE_*
 */
export async function restoreFiles(files: readonly RestorableFile[]): Promise<void> {
  for (const { kind, physical, target } of files) {
    await unlessMissing(() => removeStrays(physical));
    if (kind === 'done') continue;
    if (target === undefined) await removeContent(physical);
    else await replaceContent(physical, target);
  }
}
