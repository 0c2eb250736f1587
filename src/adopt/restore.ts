import { AgentError } from '../core/errors.ts';
import { removeStrays } from '../store/atomic-file.ts';
import { unlessMissing } from '../sys/file-error.ts';
import { readContent, putContent, removeContent } from './file-content.ts';
import type { FileContent } from './file-content.ts';
import type { Restoration } from './runs.ts';
import type { Tree } from './tree.ts';

/** A file on its way back: what is there now and what shall be. */
export interface Restorable {
  readonly path: string;
  readonly physical: string;
  /** Absent where there is, or shall be, no file. */
  readonly current?: FileContent;
  readonly target?: FileContent;
  readonly kind: 'done' | 'ready' | 'changed-since';
}

/** @throws AgentError STORE_*, and FILE_CHANGED when the copy of a file is not what it was */
export async function examineAll(
  tree: Tree,
  restorations: readonly Restoration[],
): Promise<Restorable[]> {
  const files: Restorable[] = [];
  for (const restoration of restorations) files.push(await examine(tree, restoration));
  return files;
}

async function examine(
  tree: Tree,
  { path, known, target: wanted }: Restoration,
): Promise<Restorable> {
  const { physical } = await tree.locate(path);
  const current = await readContent(physical);
  const target = wanted && (await backupOf(path, wanted));
  const files = { path, physical, ...(current && { current }), ...(target && { target }) };
  if (isSame(current, target)) return { ...files, kind: 'done' };
  // Where somebody took the file away, nothing of theirs can be lost.
  const ours = current === undefined || known.has(current.state.sha256);
  return { ...files, kind: ours ? 'ready' : 'changed-since' };
}

/** With the owner and mode of the original, whatever became of those of the copy. */
async function backupOf(
  path: string,
  { state, backup }: NonNullable<Restoration['target']>,
): Promise<FileContent> {
  const content = await readContent(backup);
  if (content?.state.sha256 === state.sha256) return { bytes: content.bytes, state };
  throw new AgentError('FILE_CHANGED', `the copy of ${path}, ${backup}, is not what was copied`, {
    remedy: `Put ${path} back from another backup; then remove the folder of that copy`,
  });
}

function isSame(current: FileContent | undefined, target: FileContent | undefined): boolean {
  if (current === undefined || target === undefined) return current === target;
  const [left, right] = [current.state, target.state];
  return (
    left.sha256 === right.sha256 &&
    left.mode === right.mode &&
    left.uid === right.uid &&
    left.gid === right.gid
  );
}

/** Nothing of somebody else's goes unless they say so. @throws AgentError FILE_CHANGED */
export function requireOurs(files: readonly Restorable[]): void {
  const changed = files.filter(({ kind }) => kind === 'changed-since').map(({ path }) => path);
  if (changed.length === 0) return;
  const one = changed.length === 1;
  throw new AgentError(
    'FILE_CHANGED',
    `${changed.join(', ')} ${one ? 'was' : 'were'} changed since nodecertd adopt wrote ${one ? 'it' : 'them'}`,
    {
      remedy:
        'nodecertd adopt --revert shows the difference; with --force --yes it puts back what was there, without that change',
    },
  );
}

/** Each at once and lasting; what is as it was already is left alone, but for what a crash left beside it. @throws AgentError STORE_* */
export async function putBack(files: readonly Restorable[]): Promise<void> {
  for (const { kind, physical, target } of files) {
    await unlessMissing(() => removeStrays(physical));
    if (kind === 'done') continue;
    if (target === undefined) await removeContent(physical);
    else await putContent(physical, target);
  }
}
