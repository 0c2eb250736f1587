/** What is held at a quiet moment, after a collection of garbage. */
export interface Sample {
  /** Rotations, or ticks of the idle loop, so far. */
  readonly count: number;
  readonly fileDescriptors: number;
  /** Sleeps on the clock and timers of the process. */
  readonly timers: number;
  /** On the process and on the signal that lives as long as the keeper. */
  readonly listeners: number;
  /** Bytes of the JavaScript heap in use. */
  readonly heap: number;
  /** RssAnon in bytes: memory of its own, without what is mapped from files. */
  readonly anonymous: number;
}

export interface SubjectOrder {
  readonly configFile: string;
  readonly rotations: number;
  readonly ticks: number;
  /** Rotations or ticks between two samples. */
  readonly every: number;
}

/** From the subject: the time to which the cluster's clock has to follow, and what was measured. */
export type SubjectMessage =
  | { readonly type: 'advance'; readonly to: number }
  | { readonly type: 'rotations'; readonly sample: Sample }
  | { readonly type: 'ticks'; readonly sample: Sample };
