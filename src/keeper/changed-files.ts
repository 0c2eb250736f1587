import { treeSignature } from './pair-watch.ts';

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
