import type { Stats } from 'node:fs';
import { chmod, lstat, unlink } from 'node:fs/promises';
import type { Finding } from '../core/enroller-protocol.ts';
import { describeError } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { minute } from '../core/instant.ts';
import { loadCandidates } from './pair-candidates.ts';
import type { PairDirectory } from './pair-directory.ts';
import { attempt, unlessMissing } from '../sys/file-error.ts';

const setAsideFilesKept = 3;

export interface PruneOptions {
  readonly previousPairs: number;
  readonly replaced: string | undefined;
  /**
   * What to do with key pairs that were rolled back. They are removed when the next key pair
   * is stored, and not before, because a reader may be about to open one.
   */
  readonly rolledBack: 'keep' | 'remove';
  readonly now: Instant;
}

/**
 * Removes files that a swap has made superfluous. Never throws, because the new key pair is in
 * place. Keeps every target of a link, and the previous target, which a reader may be about to
 * open.
 */
export async function prune(files: PairDirectory, options: PruneOptions): Promise<Finding[]> {
  try {
    const surplus = [
      ...(await surplusPairs(files, options)),
      ...(await files.setAsideFiles()).slice(setAsideFilesKept),
    ];
    const findings: Finding[] = [];
    for (const file of surplus) findings.push(await remove(files.path(file)));
    return findings;
  } catch (error) {
    return [cleanupFailed(files.directory, error)];
  }
}

/**
 * Notifies programs that watch a previous key pair. inotify follows links, so a program that
 * watches the link watches the file behind it and does not notice when the link changes: a
 * kubelet since 1.31 (apiserver, dynamic_serving_content.go, on fsnotify) would serve its first
 * certificate until that certificate expires. Setting a file's mode to its current mode sends an
 * event to its watchers, which then read the link again. Never throws.
 */
export async function touchPreviousPairs(
  files: PairDirectory,
  pruned: readonly Finding[] = [],
): Promise<Finding[]> {
  return touch(files, { pruned, isDue: () => true });
}

/**
 * Repeats the notification after an interrupted write or rollback, for files that have not
 * changed since the link was replaced. Does nothing if the link is from the future, because the
 * clock was set back: a touch on each inspection would trigger the next inspection.
 */
export async function touchMissedPairs(files: PairDirectory, now: Instant): Promise<Finding[]> {
  const since = await unlessMissing(() => ctimeOf(files.link));
  if (since === undefined || since > now) return [];
  return touch(files, { pruned: [], isDue: ({ ctimeMs }) => ctimeMs <= since });
}

async function touch(
  files: PairDirectory,
  options: {
    /** Results of the removal, so that nothing is reported twice. */
    readonly pruned: readonly Finding[];
    readonly isDue: (stats: Stats) => boolean;
  },
): Promise<Finding[]> {
  const reported = new Set(options.pruned.map(({ path }) => path));
  try {
    const current = await files.realPath(files.link);
    for (const file of await files.pairFiles()) {
      const path = files.path(file);
      if (reported.has(path) || (await files.realPath(path)) === current) continue;
      const stats = await attempt('inspect', path, () => lstat(path));
      if (!stats.isFile() || !options.isDue(stats)) continue;
      await attempt('change the mode of', path, () => chmod(path, stats.mode & 0o7777));
    }
    return [];
  } catch (error) {
    return [cleanupFailed(files.directory, error)];
  }
}

async function ctimeOf(path: string): Promise<number> {
  const { ctimeMs } = await attempt('inspect', path, () => lstat(path));
  return ctimeMs;
}

/** Reports a failure after the swap. */
export function cleanupFailed(path: string, error: unknown): Finding {
  return { kind: 'cleanup-failed', path, detail: describeError(error) };
}

/** The files to remove. Keeps the best key pairs, and removes corrupt files first. */
async function surplusPairs(files: PairDirectory, options: PruneOptions): Promise<string[]> {
  const linked = await files.linkedFiles();
  const rolledBack = new Set(await files.rolledBackFiles());
  const unlinked: string[] = [];
  const surplus: string[] = [];
  let kept = 0;
  for (const file of await files.pairFiles()) {
    const target = await files.realPath(files.path(file));
    if (target !== undefined && target === options.replaced) kept += 1;
    else if (target !== undefined && linked.has(target)) continue;
    else if (!rolledBack.has(file)) unlinked.push(file);
    else if (options.rolledBack === 'remove') surplus.push(file);
  }
  const room = Math.max(options.previousPairs - kept, 0);
  if (unlinked.length <= room) return surplus;
  const { directory } = files;
  const { pairs, bad } = await loadCandidates({ directory, files: unlinked, now: options.now });
  const ranked = [...pairs.map(({ file }) => file), ...bad];
  for (const file of ranked.slice(room).toReversed()) {
    if (!bad.includes(file) || (await isSettled(files.path(file), options.now))) surplus.push(file);
  }
  return surplus;
}

/**
 * A kubelet that rotates in the same directory writes a file before it links it, so a new
 * incomplete file may be the kubelet's next key pair.
 */
async function isSettled(path: string, now: Instant): Promise<boolean> {
  const { mtimeMs } = await attempt('inspect', path, () => lstat(path));
  return Math.abs(now - mtimeMs) > minute;
}

async function remove(path: string): Promise<Finding> {
  try {
    await attempt('remove', path, () => unlink(path));
    return { kind: 'pair-pruned', path, detail: 'older than the key pairs that are kept' };
  } catch (error) {
    return cleanupFailed(path, error);
  }
}
