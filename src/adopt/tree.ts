import { lstat, readdir, readlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { AgentError, hasErrno } from '../core/errors.ts';
import { printable } from '../core/printable.ts';
import { readSmallFile } from '../sys/small-file.ts';
import { isMissing, storeError, unlessMissing } from '../sys/file-error.ts';

/** Where a path of the node leads. */
export interface Place {
  /** As the node sees it, with every link resolved. */
  readonly path: string;
  /** As this program opens it. */
  readonly physical: string;
  /** The place itself and every link that led there, as the node sees them, in order. */
  readonly passed: readonly string[];
}

/** Linux follows as many. */
const mostLinks = 40;

/** What is larger is no configuration. */
const largestFile = 1024 * 1024;

/**
 * The files of a node: those of this machine, or those of an image that is unpacked
 * below a folder. Paths are always the node's own; an absolute link within an image
 * leads to a place in that image and never out of it.
 */
export class Tree {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  get isMachine(): boolean {
    return this.root === '/';
  }

  /** Follows links, as far as the path exists. @throws AgentError STORE_PERMISSIONS, STORE_IO */
  async locate(path: string): Promise<Place> {
    // A damaged file can name anything; the system calls take no such path.
    if (path.includes('\0')) throw new AgentError('STORE_IO', `${printable(path)} is no path`);
    let at = '/';
    const passed: string[] = [];
    const rest = components(path);
    for (let links = 0; rest.length > 0;) {
      const next = rest.shift();
      at = next === '..' ? dirname(at) : join(at, next ?? '');
      if (rest.length === 0) passed.push(at);
      const target = await this.#linkTarget(at);
      if (target === undefined) continue;
      links += 1;
      if (links > mostLinks) {
        throw new AgentError('STORE_IO', `${printable(path)} leads in a circle of links`);
      }
      rest.unshift(...components(target));
      at = target.startsWith('/') ? '/' : dirname(at);
    }
    return { path: at, physical: join(this.root, at), passed };
  }

  /** True when the way from the path leads through the place of the link; ending at the same file is not enough. */
  async leadsThrough(path: string, link: string): Promise<boolean> {
    const [place, wanted] = await Promise.all([this.locate(path), this.locate(link)]);
    const [first] = wanted.passed;
    return first !== undefined && place.passed.includes(first);
  }

  /** Absent where there is no file. @throws AgentError CONFIG_UNREADABLE for what is no text, STORE_* */
  async readText(path: string): Promise<string | undefined> {
    const place = await this.locate(path);
    // How a unit or a drop-in is masked.
    if (place.path === '/dev/null') return '';
    try {
      const bytes = await unlessMissing(() => readSmallFile(place.physical, largestFile));
      return bytes && new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch (error) {
      throw unreadable(path, error);
    }
  }

  /** The names in a folder, sorted; none where there is no folder. */
  async list(path: string): Promise<string[]> {
    const { physical } = await this.locate(path);
    try {
      return ((await unlessMissing(() => readdir(physical))) ?? []).sort();
    } catch (error) {
      throw storeError('list', printable(path), error);
    }
  }

  /** What stands at the path itself, a link not followed. */
  async kindOf(path: string): Promise<'missing' | 'link' | 'directory' | 'other'> {
    const folder = await this.locate(dirname(path));
    try {
      const found = await lstat(join(folder.physical, basename(path)));
      if (found.isSymbolicLink()) return 'link';
      return found.isDirectory() ? 'directory' : 'other';
    } catch (error) {
      if (isMissing(error)) return 'missing';
      throw storeError('look at', printable(path), error);
    }
  }

  async #linkTarget(at: string): Promise<string | undefined> {
    try {
      return await readlink(join(this.root, at));
    } catch (error) {
      // No link, or nothing at all: the rest of the path is taken as it is.
      if (hasErrno(error, 'EINVAL') || isMissing(error)) return undefined;
      throw storeError('follow', printable(at), error);
    }
  }
}

function components(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

function unreadable(path: string, error: unknown): AgentError {
  if (!(error instanceof RangeError) && !(error instanceof TypeError)) {
    return storeError('read', printable(path), error);
  }
  const shown = printable(path);
  return new AgentError('CONFIG_UNREADABLE', `${shown} is no text of less than 1 MiB`, {
    cause: error,
    remedy: `See what ${shown} is, and put the right file in its place`,
  });
}
