import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { attempt, unlessMissing } from '../sys/file-error.ts';
import { syncDirectory } from '../store/atomic-file.ts';
import type { FileChange, FileState, Run } from './manifest.ts';
import { readManifest, removeManifest } from './manifest.ts';

/** What stands of earlier runs, the oldest first. */
export interface Runs {
  /** Runs whose changes are in place, or were when they were cut short. */
  readonly standing: readonly Run[];
  /** Folders that nothing depends on any more, in the order in which they may go. */
  readonly done: readonly string[];
  /** The number of the next one. */
  readonly next: number;
}

/** @param directory `<stateDirectory>/adopt` @throws AgentError CONFIG_INVALID, STORE_PERMISSIONS, STORE_IO */
export async function readRuns(directory: string): Promise<Runs> {
  const entries = await unlessMissing(() =>
    attempt('list', directory, () => readdir(directory, { withFileTypes: true })),
  );
  const folders = (entries ?? [])
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => join(directory, name));
  const found = await Promise.all(
    folders.map(async (folder) => ({ folder, manifest: await readManifest(folder) })),
  );
  const begun = found.filter(({ manifest }) => manifest === undefined);
  const runs = found
    .flatMap(({ folder, manifest }) => (manifest === undefined ? [] : [{ folder, manifest }]))
    .sort((a, b) => a.manifest.sequence - b.manifest.sequence);
  const reverted = runs.findLastIndex(({ manifest }) => manifest.state === 'reverted') + 1;
  return {
    standing: runs.slice(reverted),
    // The one that says that all are reverted goes last.
    done: [...begun, ...runs.slice(0, reverted)].map(({ folder }) => folder),
    next: (runs.at(-1)?.manifest.sequence ?? 0) + 1,
  };
}

/** The latest run, if it was cut short. */
export function unfinishedRun({ standing }: Runs): Run | undefined {
  const latest = standing.at(-1);
  return latest?.manifest.state === 'applied' ? undefined : latest;
}

/** Folders with copies of what may hold keys: gone as soon as nobody needs them. */
export async function sweep(directory: string, folders: readonly string[]): Promise<void> {
  for (const folder of folders) {
    // First: a folder whose copies are gone in part must not be taken for a run any more.
    await removeManifest(folder);
    await attempt('remove', folder, () => rm(folder, { recursive: true }));
    await syncDirectory(directory);
  }
}

/** How a file has to be again, and where its content is kept. */
export interface Restoration {
  readonly path: string;
  /** Digests of all that runs found or left there; anything else is somebody's later change. */
  readonly known: ReadonlySet<string>;
  /** Absent when there was no file. */
  readonly target?: { readonly state: FileState; readonly backup: string };
}

/**
 * What undoes these runs, the latest change first. A file that several runs changed goes
 * back to before the first, as long as each found it as the one before had left it; else
 * somebody has replaced it in between, and the older copy is no longer what it was.
 */
export function restorations(runs: readonly Run[]): Restoration[] {
  const latestFirst = runs
    .toReversed()
    .flatMap(({ folder, manifest }) =>
      manifest.changes.toReversed().map((change) => ({ folder, change })),
    );
  const found = new Map<string, Restoration>();
  for (const { folder, change } of latestFirst) {
    const { path, before, after } = change;
    const newer = found.get(path);
    const goesOn = newer === undefined || newer.target?.state.sha256 === after.sha256;
    const target = goesOn ? targetOf(folder, change) : newer.target;
    const known = new Set(newer?.known).add(after.sha256);
    if (before !== undefined) known.add(before.sha256);
    found.set(path, { path, known, ...(target !== undefined && { target }) });
  }
  return [...found.values()];
}

function targetOf(folder: string, { before, backup }: FileChange): Restoration['target'] {
  if (before === undefined || backup === undefined) return undefined;
  return { state: before, backup: join(folder, backup) };
}
