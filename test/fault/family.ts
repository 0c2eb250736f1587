/** One row of `make fault`: a fault and its results. */
export interface FaultRow {
  /** The name of the fault, for operators. */
  readonly fault: string;
  /** The number of trials. */
  readonly tried: number;
  /** The number of reads of `-current.pem` without a complete, valid, matching pair. */
  readonly lost: number;
  /** The longest recovery in seconds; absent if the agent was not affected. */
  readonly recovery?: number;
  /** Log events with their codes, and metrics that show the fault to an operator. */
  readonly seen: readonly string[];
}

export interface FaultOptions {
  /** The long form, for `make fault`; otherwise the short form, for `make test`. */
  readonly thorough: boolean;
  readonly signal: AbortSignal;
  /** Receives progress messages. */
  readonly progress: (text: string) => void;
}

/**
 * Faults of one kind. `run` yields a row only if all promises were kept. A lost pair, a
 * leak or a missing message is an Error that says how to repeat it.
 */
export interface FaultFamily {
  readonly name: string;
  /** The needs of the family. If the machine lacks one, the family is skipped and named. */
  readonly needs: readonly FaultNeed[];
  run(options: FaultOptions): AsyncIterable<FaultRow>;
}

export type FaultNeed =
  | 'root'
  | 'go-programs'
  | 'control-plane'
  | 'kubeadm-cluster'
  | 'strace'
  | 'libfaketime';
