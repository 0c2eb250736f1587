import { readdir, readlink, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/**
 * Remembers the signature of each file, and returns the files that changed. A watch can miss a
 * change, or report one change several times.
 */
export class ChangedFiles {
  readonly #known = new Map<string, string | undefined>();
  readonly #signature: (file: string) => Promise<string>;

  constructor(files: readonly string[], signature = treeSignature) {
    this.#signature = signature;
    for (const file of files) this.#known.set(file, undefined);
  }

  /**
   * The first call returns no files. The caller reads a file after its signature is taken, so the
   * next call returns any change that the caller missed.
   * @param skip true for a file to leave for a later call
   */
  async compare(skip: (file: string) => boolean = () => false): Promise<string[]> {
    const changed: string[] = [];
    for (const [file, known] of this.#known) {
      if (skip(file)) continue;
      const signature = await this.#signature(file);
      this.#known.set(file, signature);
      if (known !== undefined && known !== signature) changed.push(file);
    }
    return changed;
  }
}

/**
 * Changes when the pair behind a `-current.pem` changes. Does not open the PEM file, because the
 * keeper must not read keys. Includes the mode of the directory, because anyone who can write to
 * the directory can replace the pair.
 */
export async function pairSignature(link: string): Promise<string> {
  const signature = await fileSignature(link);
  // Without a pair, a new or changed directory does not matter.
  if (signature.endsWith(missing)) return signature;
  const directory = await stat(dirname(link)).catch(() => undefined);
  return `${signature} ${directory?.mode ?? missing}`;
}

/** The target of the link, and its device, inode, size, change time and mode. */
export async function fileSignature(path: string): Promise<string> {
  const target = await readlink(path).catch(() => 'no link');
  const file = await stat(path, { bigint: true }).catch(() => undefined);
  if (file === undefined) return `${target} ${missing}`;
  return [target, file.dev, file.ino, file.size, file.ctimeNs, file.mode].join(' ');
}

/**
 * The signature of a file, or of a folder with everything below it, because an editor that
 * writes in place does not change the folder.
 */
export async function treeSignature(path: string): Promise<string> {
  const own = await fileSignature(path);
  const names: string[] = await readdir(path, { recursive: true }).catch(() => []);
  const inside = names.sort().slice(0, mostFiles);
  const signatures = inside.map(async (name) => `${name} ${await fileSignature(join(path, name))}`);
  return [own, ...(await Promise.all(signatures))].join('\n');
}

/** Maximum number of files to compare below a folder; a kubelet has only a few drop-ins. */
const mostFiles = 100;

const missing = 'missing';
