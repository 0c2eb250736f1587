import type { Corpus } from './corpus.ts';

/** The task of a child. */
export interface Order {
  /** The URL of a module that exports `targets`. */
  readonly module: string;
  readonly target: string;
  readonly seed: number;
  /** The number of the first input. */
  readonly first: number;
  readonly count: number;
  readonly corpus: Corpus;
  readonly directory: string;
  /** The descriptor of the file with the number of the current input, as a double. */
  readonly progress: number;
}

export interface Broken {
  readonly index: number;
  readonly complaint: string;
}

export interface MemoryReport {
  /** The peak of the resident set. */
  readonly peakMiB: number;
  /** The growth of the live heap over the second half of the run, from a fitted line. */
  readonly growthMiB: number;
}

export interface ChildReport extends MemoryReport {
  readonly outcomes: readonly (readonly [string, number])[];
  readonly broken: readonly Broken[];
  readonly slowestMs: number;
  /** The CPU time of the whole process, including its start. */
  readonly cpuSeconds: number;
}
