import { readdir, readlink, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/**
 * Remembers the signature of each file and says which of them changed since. Watches can
 * miss a change; and an editor causes several events for one.
 */
export class ChangedFiles {
  readonly #known = new Map<string, string | undefined>();
  readonly #signature: (file: string) => Promise<string>;

  constructor(files: readonly string[], signature = treeSignature) {
    this.#signature = signature;
    for (const file of files) this.#known.set(file, undefined);
  }

  /**
   * The first call only remembers. A signature is taken before the caller learns of the
   * change, so whatever the caller reads then is at least as new; a later change shows at
   * the next call.
   * @param skip leaves these files for a later call
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
 * Changes whenever the pair behind a `-current.pem` does, without opening it: the keeper must
 * not read keys. Includes the mode of the directory, which decides who can replace the pair.
 */
export async function pairSignature(link: string): Promise<string> {
  const signature = await fileSignature(link);
  // As long as there is no pair, a new or changed directory does not count.
  if (signature.endsWith(missing)) return signature;
  const directory = await stat(dirname(link)).catch(() => undefined);
  return `${signature} ${directory?.mode ?? missing}`;
}

/** Where the link points, and device, inode, size, change time and mode of the target. */
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

/** Files below a folder that are compared; a kubelet has only a few drop-ins. */
const mostFiles = 100;

const missing = 'missing';
