import { once } from 'node:events';
import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { FSWatcher } from 'chokidar';
import { watch } from 'chokidar';

export interface FileWatchOptions {
  /** Watched each for itself: kubeconfigs, the configuration. */
  readonly files: readonly string[];
  /** Watched with every file that is in them, such as drop-ins; not with those of folders below. */
  readonly folders: readonly string[];
  /** Links such as `NAME-current.pem`, watched with every `NAME-….pem` beside them and their directory. */
  readonly pairs: readonly string[];
  /** Something may have changed, perhaps several times over; a comparison has to say what. */
  readonly onChange: (path: string) => void;
}

/**
 * Calls back when one of the files may have changed. Watches their directories
 * instead of the files: a watch on a symlink follows the target and misses the swap
 * of the link itself. Watches can fail silently (SELinux, network file systems), so
 * a poll has to stand behind this.
 */
export class FileWatch implements AsyncDisposable {
  readonly #options: FileWatchOptions;
  #watcher: FSWatcher | undefined;
  /** The directories that the watches were set on; undefined when one is known to be gone. */
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
   * Sets the watches anew if a directory came, went or was replaced since. A watch
   * belongs to an inode, so one made again under the old name would not be seen into.
   */
  async renew(): Promise<void> {
    const places = await this.#places();
    const identities = await identitiesOf(places);
    if (identities === this.#watched) return;
    // Closed before the next one opens: chokidar shares handles by path, dead ones too.
    await this.#watcher?.close();
    this.#watched = identities;
    this.#watcher = await this.#open(places);
    // Replaced once more while the watches were set: another round is needed.
    const now = await identitiesOf(places);
    for (const { directory } of now === identities ? [] : places) this.#options.onChange(directory);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watcher?.close();
  }

  async #open(places: readonly Place[]): Promise<FSWatcher> {
    const directories = new Set(places.map(({ directory }) => directory));
    // Through them a directory is seen to come (back): its own watch ends with it.
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
    // Changes of mode alone: chokidar has no event for a directory's, and drops that of a
    // file which was read since it was written.
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

/** What is wanted of one directory. */
interface Place {
  /** Where the directory really is: a link is not watched through. */
  readonly directory: string;
  /** Of the directory, and of the link that it may be reached by. */
  readonly parents: readonly string[];
  readonly file: string;
  readonly holds: 'file' | 'folder' | 'pair';
}

/** Stands for whatever is in a folder. */
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

/** With the time of birth, since an inode's number is given to the next file at once. */
async function identitiesOf(places: readonly Place[]): Promise<string> {
  const paths = new Set(places.flatMap(({ directory, parents }) => [directory, ...parents]));
  const identities = [...paths].map(async (path) => {
    const found = await stat(path, { bigint: true }).catch(() => undefined);
    return found === undefined ? path : `${path} ${found.dev} ${found.ino} ${found.birthtimeNs}`;
  });
  return (await Promise.all(identities)).join('\n');
}

/** Not for ever: the poll behind the watches has to go on whatever becomes of them. */
async function readiness(watcher: FSWatcher): Promise<void> {
  const signal = AbortSignal.timeout(5_000);
  await once(watcher, 'ready', { signal }).catch(() => undefined);
}
