/** A CA rollover, or a part of one, on real programs. `run` rejects if a promise is broken. */
export interface Scenario {
  readonly name: string;
  /** Short enough for `make test-real`. */
  readonly isShort: boolean;
  run(report: Report): Promise<void>;
}

/** Gets a line for each step. */
export type Report = (line: string) => void;
