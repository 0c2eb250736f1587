import { lstat, readlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { AgentError, hasErrno } from '../core/errors.ts';
import { printable } from '../core/printable.ts';
import { readSmallFile } from './small-file.ts';
import { isMissing, storeError, unlessMissing } from './file-error.ts';

/** The place to which a path of the node leads. */
export interface Place {
  /** The path on the node, with every link resolved. */
  readonly path: string;
  /** The path at which this program opens the place. */
  readonly physical: string;
  /** The place itself and every link on the way, in order, as paths on the node. */
  readonly passed: readonly string[];
}

/** The limit of Linux. */
const maxLinks = 40;

/** A larger file is not a configuration. */
const largestFile = 1024 * 1024;

/**
 * The files of a node: those of this machine, or those of an image that is unpacked in a
 * folder. All paths are paths on the node. An absolute link in an image leads to a place in
 * that image, never outside of it.
 */
export class Tree {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  get isMachine(): boolean {
    return this.root === '/';
  }

  /** Follows links as far as the path exists. @throws AgentError STORE_PERMISSIONS, STORE_IO */
  async locate(path: string): Promise<Place> {
    // A corrupt file can name anything, and the system calls reject NUL.
    if (path.includes('\0')) throw new AgentError('STORE_IO', `${printable(path)} is not a path`);
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
      if (links > maxLinks) {
        throw new AgentError('STORE_IO', `${printable(path)} is a loop of links`);
      }
      rest.unshift(...components(target));
      at = target.startsWith('/') ? '/' : dirname(at);
    }
    return { path: at, physical: join(this.root, at), passed };
  }

  /**
   * True when the path is resolved through this link. The same target is not enough, because the
   * link will point to another file.
   */
  async leadsThrough(path: string, link: string): Promise<boolean> {
    const [place, linkPlace] = await Promise.all([this.locate(path), this.locate(link)]);
    const [first] = linkPlace.passed;
    return first !== undefined && place.passed.includes(first);
  }

  /**
   * Undefined when there is no file.
   * @throws AgentError CONFIG_UNREADABLE for a file that is not text, STORE_*
   */
  async readText(path: string): Promise<string | undefined> {
    const place = await this.locate(path);
    // A link to /dev/null masks a file.
    if (place.path === '/dev/null') return '';
    try {
      const bytes = await unlessMissing(() => readSmallFile(place.physical, largestFile));
      return bytes && new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch (error) {
      throw unreadable(path, error);
    }
  }

  /** The kind of file at the path itself, without following a link. */
  async kindOf(path: string): Promise<'missing' | 'link' | 'directory' | 'other'> {
    const folder = await this.locate(dirname(path));
    try {
      const found = await lstat(join(folder.physical, basename(path)));
      if (found.isSymbolicLink()) return 'link';
      return found.isDirectory() ? 'directory' : 'other';
    } catch (error) {
      if (isMissing(error)) return 'missing';
      throw storeError('inspect', printable(path), error);
    }
  }

  async #linkTarget(at: string): Promise<string | undefined> {
    try {
      return await readlink(join(this.root, at));
    } catch (error) {
      // The path is not a link, or does not exist.
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
  return new AgentError('CONFIG_UNREADABLE', `${shown} is not a text file of less than 1 MiB`, {
    cause: error,
    remedy: `Replace ${shown} with the right file`,
  });
}
