import { dirname } from 'node:path';
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
  const wanted = new Set(files);
  const directories = [...new Set(files.map((file) => dirname(file)))];
  const watcher = watch(directories, {
    depth: 0,
    ignoreInitial: true,
    followSymlinks: false,
    // Directories pass, or their own watch would be off.
    ignored: (path) => !wanted.has(path) && !directories.includes(path),
  });
  watcher.on('all', (_, path) => {
    if (wanted.has(path)) onChange(path);
  });
  watcher.on('error', () => undefined);
  await new Promise<void>((resolve) => {
    watcher.once('ready', () => resolve());
  });
  return { [Symbol.asyncDispose]: () => watcher.close() };
}
