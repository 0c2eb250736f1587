import type { Instant } from '../core/instant.ts';

/** What of the time after a rotation has to outlive a run, by certificate. */
export type HookRecords = Readonly<Record<string, HookRecord>>;

export interface HookRecord {
  /** Serial of the pair whose hooks are not done. */
  readonly owed?: string;
  readonly wentBack?: WentBack;
}

/** From one pair to the one before, by their serials. */
export interface WentBack {
  readonly from: string;
  readonly to: string;
  /** How often in a row. */
  readonly count: number;
  /** No new pair is asked for before this moment. */
  readonly until: Instant;
}

/**
 * Remembers over restarts which hooks are owed: a server that was never told of its new
 * certificate would serve the old one until that expires. And that the agent has gone
 * back to an earlier pair, which is mostly due: without, each restart would ask for the
 * next one at once.
 */
export class HookJournal {
  readonly #records: Map<string, HookRecord>;
  readonly #save: (records: HookRecords) => void;

  /** @param save called after each change; must not throw */
  constructor(records: HookRecords, save: (records: HookRecords) => void) {
    this.#records = new Map(Object.entries(records));
    this.#save = save;
  }

  owed(name: string): string | undefined {
    return this.#of(name).owed;
  }

  owe(name: string, serial: string): void {
    this.#set(name, { ...this.#of(name), owed: serial });
  }

  /** All is done for this pair, or it is not there any more. */
  settle(name: string, serial: string): void {
    const { owed, ...rest } = this.#of(name);
    if (owed === serial) this.#set(name, rest);
  }

  wentBack(name: string): WentBack | undefined {
    return this.#of(name).wentBack;
  }

  goBack(name: string, step: Omit<WentBack, 'count'>): void {
    const count = this.nextCount(name);
    this.#set(name, { owed: step.to, wentBack: { ...step, count } });
  }

  /** Which time in a row the next one is. */
  nextCount(name: string): number {
    return (this.wentBack(name)?.count ?? 0) + 1;
  }

  /** This pair is served: where it is a new one, going back is over. */
  served(name: string, serial: string): void {
    const { wentBack, ...rest } = this.#of(name);
    if (wentBack !== undefined && wentBack.to !== serial) this.#set(name, rest);
  }

  #of(name: string): HookRecord {
    return this.#records.get(name) ?? {};
  }

  #set(name: string, record: HookRecord): void {
    this.#records.set(name, record);
    this.#save(Object.fromEntries(this.#records));
  }
}
