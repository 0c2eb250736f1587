import { fileSignature } from './pair-watch.ts';

/**
 * Remembers how files look from outside and says which of them changed since. It
 * stands behind the watches, which can miss a change, and makes one change of the
 * several events that an editor causes.
 */
export class ChangedFiles {
  readonly #known = new Map<string, string | undefined>();

  constructor(files: readonly string[]) {
    for (const file of files) this.#known.set(file, undefined);
  }

  /** The first look only remembers. */
  async look(): Promise<string[]> {
    const changed: string[] = [];
    for (const [file, known] of this.#known) {
      const signature = await fileSignature(file);
      this.#known.set(file, signature);
      if (known !== undefined && known !== signature) changed.push(file);
    }
    return changed;
  }
}
