import { mkdir, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { hasErrno } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { attempt, unlessMissing } from '../sys/file-error.ts';
import { makeDirectory, syncDirectory } from './atomic-file.ts';
import { copyContent } from './file-content.ts';
import type { FileContent } from './file-content.ts';
import type { FileChange, FileState, Run } from './run-manifest.ts';
import { readManifest, removeManifest } from './run-manifest.ts';

/** Earlier runs, the oldest first. */
export interface Runs {
  /** Runs that were not reverted completely, including an interrupted run. */
  readonly active: readonly Run[];
  /** Folders that are no longer needed, in the order in which they can be deleted. */
  readonly obsolete: readonly string[];
  /** The sequence number of the next run. */
  readonly next: number;
}

/**
 * @param directory the folder of all runs
 * @throws AgentError CONFIG_INVALID, STORE_PERMISSIONS, STORE_IO
 */
export async function readRuns(directory: string): Promise<Runs> {
  const entries = await unlessMissing(() =>
    attempt('list', directory, () => readdir(directory, { withFileTypes: true })),
  );
  const folders = (entries ?? [])
    .filter((entry) => entry.isDirectory() && runName.test(entry.name))
    .map(({ name }) => join(directory, name));
  const found = await Promise.all(
    folders.map(async (folder) => ({ folder, manifest: await readManifest(folder) })),
  );
  const withoutManifest = found.filter(({ manifest }) => manifest === undefined);
  const runs = found
    .flatMap(({ folder, manifest }) => (manifest === undefined ? [] : [{ folder, manifest }]))
    .sort((a, b) => a.manifest.sequence - b.manifest.sequence);
  const reverted = runs.findLastIndex(({ manifest }) => manifest.state === 'reverted') + 1;
  return {
    active: runs.slice(reverted),
    // The run that marks all others as reverted is deleted last.
    obsolete: [...withoutManifest, ...runs.slice(0, reverted)].map(({ folder }) => folder),
    next: (runs.at(-1)?.manifest.sequence ?? 0) + 1,
  };
}

/** The latest run, if it was interrupted. */
export function unfinishedRun({ active }: Runs): Run | undefined {
  const latest = active.at(-1);
  return latest?.manifest.state === 'applied' ? undefined : latest;
}

/** Deletes folders that are no longer needed, because their copies may contain keys. */
export async function sweep(directory: string, folders: readonly string[]): Promise<void> {
  for (const folder of folders) {
    // A folder without its manifest is not a run, so an interrupted deletion is harmless.
    await removeManifest(folder);
    await attempt('remove', folder, () => rm(folder, { recursive: true }));
    await syncDirectory(directory);
  }
}

/** The previous state of a file, and its copy. */
export interface Restoration {
  readonly path: string;
  readonly item?: string;
  /**
   * Digests of all contents that a run found or wrote. A file with any other digest was changed
   * later.
   */
  readonly known: ReadonlySet<string>;
  /** Another program replaced the file between two of the runs. */
  readonly isReplaced: boolean;
  /** Absent when the file did not exist. */
  readonly target?: { readonly state: FileState; readonly backup: string };
}

/**
 * The files to restore for these runs, the latest change first. A file that several runs
 * changed is restored from the first copy, unless another program replaced the file between
 * two runs: then the copy of the later run is the previous content.
 */
export function restorations(runs: readonly Run[]): Restoration[] {
  const latestFirst = runs
    .toReversed()
    .flatMap(({ folder, manifest }) =>
      manifest.changes.toReversed().map((change) => ({ folder, change })),
    );
  const found = new Map<string, Restoration>();
  for (const { folder, change } of latestFirst) {
    const { path, item, before, after } = change;
    const newer = found.get(path);
    const isContinued = newer === undefined || newer.target?.state.sha256 === after?.sha256;
    const target = isContinued ? targetOf(folder, change) : newer.target;
    const isRestored = newer?.target?.state.sha256 === before?.sha256;
    const isReplaced = newer?.isReplaced === true || (!isContinued && !isRestored);
    const known = new Set(newer?.known);
    for (const state of [before, after]) if (state !== undefined) known.add(state.sha256);
    found.set(path, {
      path,
      known,
      isReplaced,
      ...(item !== undefined && { item }),
      ...(target !== undefined && { target }),
    });
  }
  return [...found.values()];
}

function targetOf(folder: string, { before, backup }: FileChange): Restoration['target'] {
  if (before === undefined || backup === undefined) return undefined;
  return { state: before, backup: join(folder, backup) };
}

/** The names of `makeRunFolder()`. Other folders beside the runs, such as pending keys, stay. */
const runName = /^\d{8}T\d{6}Z-\d+$/;

/** Named by time and sequence number, as in `20261122T190500Z-1`. */
export async function makeRunFolder({
  directory,
  sequence,
  now,
}: {
  readonly directory: string;
  readonly sequence: number;
  readonly now: () => Instant;
}): Promise<string> {
  await makePrivateDirectory(directory);
  const folder = join(directory, `${runTime(now()).replace(/\.\d+|[-:]/g, '')}-${sequence}`);
  await attempt('create the directory', folder, () => mkdir(folder, { mode: 0o700 }));
  return folder;
}

/** Only root can read it, because the copies may contain keys. */
export async function makePrivateDirectory(directory: string): Promise<void> {
  await makeDirectory(dirname(directory));
  await attempt('create the directory', directory, async () => {
    try {
      await mkdir(directory, { mode: 0o700 });
    } catch (error) {
      if (!hasErrno(error, 'EEXIST')) throw error;
    }
  });
  await syncDirectory(dirname(directory));
}

/** A change that has not been made yet. */
export interface BackedUpChange {
  /** The path on the node, with links resolved. */
  readonly path: string;
  readonly item?: string;
  /** Absent when there is no file. */
  readonly before?: FileContent;
  /** Absent when the file is removed. */
  readonly after?: Pick<FileContent, 'state'>;
}

/** A change with the new content, which may contain a key. */
export interface NewChange extends BackedUpChange {
  readonly after?: FileContent;
}

/** Copies the file to its path below the folder of the run. */
export async function backUp(folder: string, change: BackedUpChange): Promise<FileChange> {
  const { path, item, before, after } = change;
  const common = {
    path,
    ...(after && { after: after.state }),
    ...(item !== undefined && { item }),
  };
  if (before === undefined) return { ...common, existed: false };
  const backup = join('files', path);
  const copy = join(folder, backup);
  await makeDirectory(dirname(copy));
  await copyContent(copy, before);
  await syncDirectory(dirname(copy));
  return { ...common, existed: true, before: before.state, backup };
}

/** With milliseconds, because plan-adoption.ts compares this time with the start of the kubelet. */
export function runTime(now: Instant): string {
  return new Date(now).toISOString();
}
