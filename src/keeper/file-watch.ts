import { once } from 'node:events';
import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { FSWatcher } from 'chokidar';
import { watch } from 'chokidar';

export interface FileWatchOptions {
  /** Single files: kubeconfigs, the configuration. */
  readonly files: readonly string[];
  /** Folders with the files directly in them, such as drop-ins. */
  readonly folders: readonly string[];
  /** Links such as `NAME-current.pem`, with every `NAME-….pem` in the same directory. */
  readonly pairs: readonly string[];
  /** Called when this path may have changed, sometimes several times for one change. */
  readonly onChange: (path: string) => void;
}

/**
 * Calls back when one of the files may have changed. Watches their directories, because a
 * watch on a symlink follows the target and misses a change of the link. Watches can fail
 * silently (SELinux, network file systems), so the keeper also compares the files every round.
 */
export class FileWatch implements AsyncDisposable {
  readonly #options: FileWatchOptions;
  #watcher: FSWatcher | undefined;
  /** Identities of the watched directories; undefined once one of them was removed. */
  #watched: string | undefined;

  private constructor(options: FileWatchOptions) {
    this.#options = options;
  }

  static async open(options: FileWatchOptions): Promise<FileWatch> {
    const fileWatch = new FileWatch(options);
    await fileWatch.renew();
    return fileWatch;
  }

  /**
   * Sets the watches again if a directory was created, removed or replaced. A watch belongs to an
   * inode, so it misses changes in a directory that was removed and recreated.
   */
  async renew(): Promise<void> {
    const places = await this.#places();
    const identities = await identitiesOf(places);
    if (identities === this.#watched) return;
    // Close the old watcher first, because chokidar shares handles by path, including dead ones.
    await this.#watcher?.close();
    this.#watched = identities;
    this.#watcher = await this.#open(places);
    // If a directory was replaced in the meantime, the next round sets the watches again.
    const now = await identitiesOf(places);
    for (const { directory } of now === identities ? [] : places) this.#options.onChange(directory);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watcher?.close();
  }

  async #open(places: readonly Place[]): Promise<FSWatcher> {
    const directories = new Set(places.map(({ directory }) => directory));
    // A watch ends when its directory is removed; the watch of the parent reports the new
    // directory.
    const parents = new Set(places.flatMap((place) => place.parents));
    const isWanted = (path: string): boolean =>
      directories.has(path) || places.some((place) => isOf(place, path));
    const watcher = watch([...directories, ...parents], {
      depth: 0,
      ignoreInitial: true,
      followSymlinks: false,
      atomic: false,
      ignored: (path) => !parents.has(path) && !isWanted(path),
    });
    watcher.on('all', (event, path) => {
      if (!isWanted(path)) return;
      if (event === 'unlinkDir') this.#watched = undefined;
      this.#options.onChange(path);
    });
    // Raw events report mode changes. chokidar has no other event for the mode of a directory,
    // and drops mode changes of a file that was read after its last write.
    watcher.on('raw', (_, name) => {
      for (const place of places) {
        if (place.holds !== 'pair' || name === null) continue;
        const path = join(place.directory, name);
        if (basename(place.directory) === name) this.#options.onChange(place.directory);
        else if (isOf(place, path)) this.#options.onChange(path);
      }
    });
    watcher.on('error', () => undefined);
    await readiness(watcher);
    return watcher;
  }

  #places(): Promise<Place[]> {
    const { files, folders, pairs } = this.#options;
    return Promise.all([
      ...[...files, ...folders].map((file) => placeOf(file, 'file')),
      ...folders.map((folder) => placeOf(join(folder, anyFile), 'folder')),
      ...pairs.map((link) => placeOf(link, 'pair')),
    ]);
  }
}

/** A directory to watch, and the files in it that matter. */
interface Place {
  /** The real path, because chokidar does not watch through a link. */
  readonly directory: string;
  /** The parents of the real path and of the configured path, which may be a link. */
  readonly parents: readonly string[];
  readonly file: string;
  readonly holds: 'file' | 'folder' | 'pair';
}

/** Any file in a folder. */
const anyFile = '*';

async function placeOf(path: string, holds: Place['holds']): Promise<Place> {
  const directory = await realpath(dirname(path)).catch(() => dirname(path));
  const parents = [dirname(directory), dirname(dirname(path))];
  return { directory, parents, file: basename(path), holds };
}

function isOf({ directory, file, holds }: Place, path: string): boolean {
  if (dirname(path) !== directory) return false;
  const name = basename(path);
  if (holds === 'folder') return true;
  if (holds === 'file') return name === file;
  return name.startsWith(file.replace(/current\.pem$/, '')) && name.endsWith('.pem');
}

/**
 * Includes the creation time, because a new directory may get the inode number of a removed one.
 */
async function identitiesOf(places: readonly Place[]): Promise<string> {
  const paths = new Set(places.flatMap(({ directory, parents }) => [directory, ...parents]));
  const identities = [...paths].map(async (path) => {
    const found = await stat(path, { bigint: true }).catch(() => undefined);
    return found === undefined ? path : `${path} ${found.dev} ${found.ino} ${found.birthtimeNs}`;
  });
  return (await Promise.all(identities)).join('\n');
}

/** Has a timeout, because the loop must continue even if the watches never become ready. */
async function readiness(watcher: FSWatcher): Promise<void> {
  const signal = AbortSignal.timeout(5_000);
  await once(watcher, 'ready', { signal }).catch(() => undefined);
}
