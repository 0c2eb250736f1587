import type { FileContent } from '../../store/file-content.ts';
import { digestOf, readContent } from '../../store/file-content.ts';
import type { BackedUpChange } from '../../store/run-folder.ts';
import type { Tree } from '../../sys/tree.ts';

/** A file that a run replaces, as it was when the run was planned. */
export interface PlannedFile {
  /** The path with links resolved. */
  readonly path: string;
  /** Absent if there is no file. */
  readonly before?: FileContent;
}

export async function plannedFile(tree: Tree, file: string): Promise<PlannedFile> {
  const { path, physical } = await tree.locate(file);
  const before = await readContent(physical);
  return { path, ...(before && { before }) };
}

/** Keeps the owner and the mode of the file. @param usualMode the mode of a file that is new */
export function changeOf(
  { path, before }: PlannedFile,
  bytes: Uint8Array<ArrayBuffer>,
  usualMode: string,
): BackedUpChange & { readonly after: FileContent } {
  const owner = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
  const state = { mode: usualMode, ...owner, ...before?.state, sha256: digestOf(bytes) };
  return { path, ...(before && { before }), after: { bytes, state } };
}
