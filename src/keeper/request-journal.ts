import type { CsrReference } from '../core/enroller-protocol.ts';
import type { Instant } from '../core/instant.ts';
import { requestDelay, unfinishedRequestLimit } from '../core/timing.ts';

/** Requests that no certificate has come of yet, by certificate. */
export type OutstandingRequests = Readonly<Record<string, readonly Outstanding[]>>;

export interface Outstanding {
  readonly csr: string;
  readonly createdAt: Instant;
}

/**
 * Remembers over restarts which requests came to nothing: undecided, denied, or
 * issued and never stored. A restart loses the key, so it has to ask again; counting
 * what is outstanding keeps an agent that crashes in a loop, wherever in its work,
 * from flooding the API server, as one did with 520,858 CSRs
 * (kubernetes/kubernetes#132947). Only a stored certificate clears the count.
 */
export class RequestJournal {
  readonly #outstanding: Map<string, readonly Outstanding[]>;
  readonly #save: (outstanding: OutstandingRequests) => void;

  /** @param save called after each change; must not throw */
  constructor(outstanding: OutstandingRequests, save: (outstanding: OutstandingRequests) => void) {
    this.#outstanding = new Map(Object.entries(outstanding));
    this.#save = save;
  }

  /** How many there are within the last day. */
  outstanding(name: string, now: Instant): number {
    const all = this.#outstanding.get(name) ?? [];
    return all.filter(({ createdAt }) => Math.abs(now - createdAt) < unfinishedRequestLimit).length;
  }

  /** Milliseconds that the first request of this run has to wait. */
  delayFor(name: string, now: Instant): number {
    return requestDelay(this.outstanding(name, now));
  }

  /** False when the request was known: the enroller repeats itself when it carries on. */
  add(name: string, { name: csr, createdAt }: CsrReference): boolean {
    const known = this.#outstanding.get(name) ?? [];
    if (known.some((entry) => entry.csr === csr)) return false;
    const fresh = known.filter(
      (entry) => Math.abs(createdAt - entry.createdAt) < unfinishedRequestLimit,
    );
    this.#set(name, [...fresh, { csr, createdAt }].slice(-longest));
    return true;
  }

  /**
   * A pair is there, and the request that it would have come of. A run that was killed
   * after its swap never heard of the pair it had stored: that request came to something.
   * @returns whether it is such a pair
   */
  found(name: string, csr: string): boolean {
    const known = this.#outstanding.get(name) ?? [];
    const isOurs = known.some((entry) => entry.csr === csr);
    if (isOurs) this.clear(name);
    return isOurs;
  }

  /** A certificate was stored. */
  clear(name: string): void {
    this.#set(name, []);
  }

  #set(name: string, entries: readonly Outstanding[]): void {
    this.#outstanding.set(name, entries);
    this.#save(Object.fromEntries(this.#outstanding));
  }
}

/** More would make no delay longer. */
const longest = 10;
