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
   * What becomes of pairs that were gone back from, which have their content under
   * another name: removed with the next pair that is stored, and not before, as a reader
   * may be about to open them.
   */
  readonly rolledBack: 'keep' | 'remove';
  readonly now: Instant;
}

/**
 * Removes what is no longer needed after a swap, and never throws: the new pair is
 * in place, whatever becomes of the old ones. A pair that a link leads to stays, and
 * so does the one just replaced: a reader may have followed the link to it already
 * and be about to open it.
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
 * Whoever watches the link by its name watches the file behind it, and learns nothing
 * when the link moves on: a kubelet from 1.31 on (apiserver, dynamic_serving_content.go, on
 * fsnotify) would serve the first pair until somebody touches that file, and an expired one
 * in the end. Giving the other pairs the mode they have is an event for whoever still
 * watches one of them, and then reads the link by its name. Never throws, as prune().
 */
export async function stirOthers(
  files: PairDirectory,
  pruned: readonly Finding[] = [],
): Promise<Finding[]> {
  return stir(files, { pruned, isDue: () => true });
}

/**
 * Does what a write or a roll-back was kept from after its swap: a pair that has not
 * changed since the link has told nobody about it. With a clock that was set back since,
 * that can't be seen, and a look that touches files each time would bring about the next.
 */
export async function stirForgotten(files: PairDirectory, now: Instant): Promise<Finding[]> {
  const since = await unlessMissing(() => ctimeOf(files.link));
  if (since === undefined || since > now) return [];
  return stir(files, { pruned: [], isDue: ({ ctimeMs }) => ctimeMs <= since });
}

async function stir(
  files: PairDirectory,
  options: {
    /** What became of those that were to go: nothing is said of them twice. */
    readonly pruned: readonly Finding[];
    readonly isDue: (stats: Stats) => boolean;
  },
): Promise<Finding[]> {
  const told = new Set(options.pruned.map(({ path }) => path));
  try {
    const current = await files.realPath(files.link);
    for (const file of await files.pairFiles()) {
      const path = files.path(file);
      if (told.has(path) || (await files.realPath(path)) === current) continue;
      const stats = await attempt('look at', path, () => lstat(path));
      if (!stats.isFile() || !options.isDue(stats)) continue;
      await attempt('change the mode of', path, () => chmod(path, stats.mode & 0o7777));
    }
    return [];
  } catch (error) {
    return [cleanupFailed(files.directory, error)];
  }
}

async function ctimeOf(path: string): Promise<number> {
  const { ctimeMs } = await attempt('look at', path, () => lstat(path));
  return ctimeMs;
}

/** The word of a failure that came after the swap. */
export function cleanupFailed(path: string, error: unknown): Finding {
  return { kind: 'cleanup-failed', path, detail: describeError(error) };
}

/** Those that would be the last to take over: the expired and the oldest, and first of all what is no pair. */
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
 * A kubelet that rotates in the same directory writes its pairs in place and links
 * them then: what is no pair yet may be the next one in a moment.
 */
async function isSettled(path: string, now: Instant): Promise<boolean> {
  const { mtimeMs } = await attempt('look at', path, () => lstat(path));
  return Math.abs(now - mtimeMs) > minute;
}

async function remove(path: string): Promise<Finding> {
  try {
    await attempt('remove', path, () => unlink(path));
    return { kind: 'pair-pruned', path, detail: 'no longer among those that are kept' };
  } catch (error) {
    return cleanupFailed(path, error);
  }
}
