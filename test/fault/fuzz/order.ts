import type { Corpus } from './corpus.ts';

/** What a child is to do. */
export interface Order {
  /** URL of a module that exports `targets`. */
  readonly module: string;
  readonly target: string;
  readonly seed: number;
  /** Number of the first input. */
  readonly first: number;
  readonly count: number;
  readonly corpus: Corpus;
  readonly directory: string;
  /** Descriptor of the file that holds the number of the input under way, as a double. */
  readonly progress: number;
}

export interface Broken {
  readonly index: number;
  readonly complaint: string;
}

export interface MemoryReport {
  /** Peak of the resident set. */
  readonly peakMiB: number;
  /** How much the live heap grew over the second half of the run, as a line fitted to it says. */
  readonly growthMiB: number;
}

export interface ChildReport extends MemoryReport {
  readonly outcomes: readonly (readonly [string, number])[];
  readonly broken: readonly Broken[];
  readonly slowestMs: number;
  /** Of the whole process, start included. */
  readonly cpuSeconds: number;
}
