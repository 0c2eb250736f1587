import type { Corpus } from './corpus.ts';
import type { Random } from './random.ts';

/** One door through which the outside enters the program, and how to make what knocks. */
export interface FuzzTarget {
  readonly name: string;
  /** URL of the module that exports it among its `targets`. */
  readonly module: string;
  /** What is damaged, as the table calls it. */
  readonly fault: string;
  /** Inputs for `make fault`: by speed, about half a minute each. */
  readonly inputs: number;
  /** Makes inputs; the same chance makes the same one from the same corpus. */
  generator(corpus: Corpus): (random: Random) => Uint8Array;
  /** The real code behind the door; `directory` is its own, and empty. */
  open(place: { readonly corpus: Corpus; readonly directory: string }): Promise<Subject> | Subject;
}

export interface Subject {
  /**
   * Feeds one input. Resolves to what came of it in a word; throws AgentError where
   * that is the promise. Any other error is a broken promise.
   */
  feed(input: Uint8Array): Promise<string> | string;
  close?(): Promise<void>;
}

/** A promise that an input broke without an error of its own: two parsers disagree, a value is out of range. */
export class BrokenPromise extends Error {
  override readonly name = 'BrokenPromise';
}

export function requireThat(holds: boolean, what: () => string): void {
  if (!holds) throw new BrokenPromise(what());
}
