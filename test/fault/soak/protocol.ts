/** A sample of an idle process after a garbage collection. */
export interface Sample {
  /** The number of rotations or ticks so far. */
  readonly count: number;
  readonly fileDescriptors: number;
  /** The number of sleeps on the clock and timers of the process. */
  readonly timers: number;
  /** Listeners on the process and on the keeper's signal. */
  readonly listeners: number;
  /** The used JavaScript heap in bytes. */
  readonly heap: number;
  /** RssAnon in bytes: private memory without mapped files. */
  readonly anonymous: number;
}

export interface SubjectOrder {
  readonly configFile: string;
  readonly rotations: number;
  readonly ticks: number;
  /** The number of rotations or ticks between two samples. */
  readonly every: number;
}

/** Messages of the subject: the new time for the cluster's clock, and samples. */
export type SubjectMessage =
  | { readonly type: 'advance'; readonly to: number }
  | { readonly type: 'rotations'; readonly sample: Sample }
  | { readonly type: 'ticks'; readonly sample: Sample };
