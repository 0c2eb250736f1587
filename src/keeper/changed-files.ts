import { treeSignature } from './pair-watch.ts';

/**
 * Remembers how files look from outside and says which of them changed since. It
 * stands behind the watches, which can miss a change, and makes one change of the
 * several events that an editor causes.
 */
export class ChangedFiles {
  readonly #known = new Map<string, string | undefined>();
  readonly #signature: (file: string) => Promise<string>;

  constructor(files: readonly string[], signature = treeSignature) {
    this.#signature = signature;
    for (const file of files) this.#known.set(file, undefined);
  }

  /**
   * The first look only remembers. What is remembered was taken before the caller
   * learns of the change, so whatever he then reads is at least as new: a change under
   * his hands shows at the next look.
   * @param skip files to leave as they are remembered, for a later look
   */
  async look(skip: (file: string) => boolean = () => false): Promise<string[]> {
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
