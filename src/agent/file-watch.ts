import { realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { FSWatcher } from 'chokidar';
import { watch } from 'chokidar';

/**
 * Calls back when one of the files may have changed. Watches their directories
 * instead of the files: a watch on a symlink follows the target and misses the swap
 * of the link itself. Watches can fail silently (SELinux, network file systems), so
 * a poll has to stand behind this.
 */
export async function watchFiles(
  files: readonly string[],
  onChange: (file: string) => void,
): Promise<AsyncDisposable> {
  const wanted = new Map<string, string>();
  for (const file of files) wanted.set(await realFile(file), file);
  const directories = new Set([...wanted.keys()].map((path) => dirname(path)));
  // Through them a directory is seen to come (back): its own watch ends with it.
  const parents = new Set([...directories].map((directory) => dirname(directory)));
  const watcher = watch([...directories, ...parents], {
    depth: 0,
    ignoreInitial: true,
    followSymlinks: false,
    ignored: (path) => !wanted.has(path) && !directories.has(path) && !parents.has(path),
  });
  watcher.on('all', (event, path) => {
    if (directories.has(path)) {
      if (event === 'unlinkDir') watcher.unwatch(path);
      if (event === 'addDir') watcher.add(path);
    }
    // With a directory its files come and go, before there is a watch that could tell.
    for (const [real, file] of wanted) {
      if (real === path || dirname(real) === path) onChange(file);
    }
  });
  watcher.on('error', () => undefined);
  await readiness(watcher);
  return { [Symbol.asyncDispose]: () => watcher.close() };
}

/** The file in the directory that its directory leads to: a link is not watched through. */
async function realFile(file: string): Promise<string> {
  const directory = await realpath(dirname(file)).catch(() => dirname(file));
  return join(directory, basename(file));
}

async function readiness(watcher: FSWatcher): Promise<void> {
  await new Promise<void>((resolve) => {
    watcher.once('ready', () => resolve());
  });
}
