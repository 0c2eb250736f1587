import type { NewChange } from '../../store/run-folder.ts';
import { changeOf, plannedFile } from '../../pki/renewal/planned-file.ts';
import type { Tree } from '../../sys/tree.ts';
import type { FileTask, NewFiles } from './task.ts';

/** Files that get new content together. */
export interface Replacement {
  /** Empty if the files have this content already. */
  readonly files: FileTask['files'];
  readonly make: () => Promise<readonly NewChange[]>;
}

export const noReplacement: Replacement = { files: [], make: async () => [] };

export interface Wanted {
  readonly tree: Tree;
  readonly path: string;
  /** The new content in words. */
  readonly content: string;
  /** The mode of a file that is new. */
  readonly mode: '0600' | '0644';
  readonly isDone: boolean;
  /** @param before the current content; absent if there is no file */
  readonly bytes: (before: Uint8Array | undefined) => Promise<Uint8Array<ArrayBuffer>>;
}

/** Another content for one file. */
export function replacement({ tree, path, content, mode, isDone, bytes }: Wanted): Replacement {
  return {
    files: isDone ? [] : [{ path, content }],
    make: async () => {
      const planned = await plannedFile(tree, path);
      return [changeOf(planned, await bytes(planned.before?.bytes), mode)];
    },
  };
}

/** Removes a file. */
export function removal(tree: Tree, path: string): Replacement {
  return {
    files: [{ path, content: 'removed' }],
    make: async () => [await plannedFile(tree, path)],
  };
}

/** A task that replaces the files that differ. */
export function fileTask(
  name: string,
  replacements: readonly Replacement[],
  use: Pick<FileTask, 'restart' | 'check'> = {},
): FileTask {
  const needed = replacements.filter(({ files }) => files.length > 0);
  return {
    kind: 'files',
    name,
    files: needed.flatMap(({ files }) => files),
    make: async () => newFiles(needed),
    ...use,
  };
}

async function newFiles(replacements: readonly Replacement[]): Promise<NewFiles> {
  const changes: NewChange[] = [];
  const dispose = (): void => {
    for (const { before, after } of changes) {
      before?.bytes.fill(0);
      after?.bytes.fill(0);
    }
  };
  try {
    for (const { make } of replacements) changes.push(...(await make()));
    return { changes, [Symbol.dispose]: dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}
