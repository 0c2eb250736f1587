import type { Corpus } from './corpus.ts';
import type { Random } from './random.ts';

/** A parser of outside input, and a generator of inputs. */
export interface FuzzTarget {
  readonly name: string;
  /** The URL of the module that exports this target in `targets`. */
  readonly module: string;
  /** The kind of input, for the table. */
  readonly fault: string;
  /** The number of inputs for `make fault`, which take about half a minute. */
  readonly inputs: number;
  /** Makes an input. The same random numbers and corpus make the same input. */
  generator(corpus: Corpus): (random: Random) => Uint8Array;
  /** Creates the subject, which runs the real code. `directory` is an empty folder for it. */
  open(place: { readonly corpus: Corpus; readonly directory: string }): Promise<Subject> | Subject;
}

export interface Subject {
  /**
   * Runs one input. Resolves to the result in one word, or throws an AgentError. Any
   * other error is a broken promise.
   */
  feed(input: Uint8Array): Promise<string> | string;
  close?(): Promise<void>;
}

/**
 * A broken promise without an error of the program: two parsers disagree, or a value is
 * out of range.
 */
export class BrokenPromise extends Error {
  override readonly name = 'BrokenPromise';
}

export function requireThat(holds: boolean, what: () => string): void {
  if (!holds) throw new BrokenPromise(what());
}
