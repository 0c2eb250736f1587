import { join, relative } from 'node:path';

interface Mount {
  /** The number of the file system, `8:1`. */
  readonly device: string;
  /** The folder of the file system that is mounted. */
  readonly root: string;
  readonly mountPoint: string;
}

/** The mounts of one mount namespace, from /proc/PID/mountinfo. */
export class MountTable {
  readonly #mounts: readonly Mount[];

  constructor(text: string) {
    this.#mounts = text.split('\n').flatMap(mountIn);
  }

  /**
   * The path at which this namespace has the file that another namespace has at a path. Undefined
   * if this namespace does not have the file.
   */
  pathOf(path: string, other: MountTable): string | undefined {
    const seen = other.#mountOf(path);
    if (seen === undefined) return undefined;
    const inside = join(seen.root, relative(seen.mountPoint, path));
    const paths = this.#mounts
      .filter(({ device, root }) => device === seen.device && isBelow(inside, root))
      // Another mount may cover the place.
      .map((mount) => ({ mount, path: join(mount.mountPoint, relative(mount.root, inside)) }))
      .filter((candidate) => this.#mountOf(candidate.path) === candidate.mount)
      .map((candidate) => candidate.path);
    // The shortest path is the one that an administrator knows.
    return paths.toSorted((a, b) => a.length - b.length)[0];
  }

  /** A later mount at the same place covers an earlier one. */
  #mountOf(path: string): Mount | undefined {
    const candidates = this.#mounts.filter(({ mountPoint }) => isBelow(path, mountPoint));
    const longest = Math.max(...candidates.map(({ mountPoint }) => mountPoint.length));
    return candidates.findLast(({ mountPoint }) => mountPoint.length === longest);
  }
}

/** `36 35 98:0 /mnt1 /mnt2 rw master:1 - ext3 /dev/root rw` (proc_pid_mountinfo(5)). */
function mountIn(line: string): Mount[] {
  const [, , device, root, mountPoint] = line.split(' ').map(unescaped);
  return device === undefined || root === undefined || mountPoint === undefined
    ? []
    : [{ device, root, mountPoint }];
}

/** The kernel writes a blank as `\040`. */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCodePoint(Number.parseInt(octal, 8)),
  );
}

export function isBelow(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder === '/' ? folder : `${folder}/`);
}
