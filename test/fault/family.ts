/** One row of `make fault`: what was done to the agent, how often, and what came of it. */
export interface FaultRow {
  /** The fault, as an operator would name it. */
  readonly fault: string;
  /** How often it was tried. */
  readonly tried: number;
  /** Times a reader of `-current.pem` found less than a complete, valid, matching pair. */
  readonly lost: number;
  /** Longest time in seconds until the agent did again what it is for; absent where it never stopped. */
  readonly recovery?: number;
  /** What told an operator: log events with their codes, and metrics. */
  readonly seen: readonly string[];
}

export interface FaultOptions {
  /** All of it, for `make fault`; otherwise the part that `make test` has the time for. */
  readonly thorough: boolean;
  readonly signal: AbortSignal;
  /** Told what is being tried, for whoever waits. */
  readonly progress: (text: string) => void;
}

/**
 * Faults of one kind. A row is produced only when its promises were kept: what was
 * lost, grew or was not told is an Error that says how to see it again.
 */
export interface FaultFamily {
  readonly name: string;
  /** What it needs of the machine; a family is left out, and named, where it is missing. */
  readonly needs: readonly FaultNeed[];
  run(options: FaultOptions): AsyncIterable<FaultRow>;
}

export type FaultNeed = 'root' | 'go-programs' | 'control-plane' | 'strace' | 'libfaketime';
