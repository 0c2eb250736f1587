import type { CsrReference } from '../core/enroller-protocol.ts';
import type { Instant } from '../core/instant.ts';
import { requestDelay, unfinishedRequestLimit } from '../core/timing.ts';

/** CSRs without a stored certificate, by the name of the certificate. */
export type OutstandingRequests = Readonly<Record<string, readonly Outstanding[]>>;

export interface Outstanding {
  readonly csr: string;
  readonly createdAt: Instant;
}

/**
 * Remembers unfinished CSRs across restarts: pending, denied, or issued but never stored. A
 * restart loses the key, so the agent must create another CSR. The count delays an agent in a
 * crash loop, so that it does not flood the API server (kubernetes/kubernetes#132947 reports
 * 520,858 CSRs). Only a stored certificate clears the count.
 */
export class RequestJournal {
  readonly #outstanding: Map<string, readonly Outstanding[]>;
  readonly #save: (outstanding: OutstandingRequests) => void;

  /** @param save called after each change; must not throw */
  constructor(outstanding: OutstandingRequests, save: (outstanding: OutstandingRequests) => void) {
    this.#outstanding = new Map(Object.entries(outstanding));
    this.#save = save;
  }

  /** The number of CSRs within the last day. */
  outstanding(name: string, now: Instant): number {
    const all = this.#outstanding.get(name) ?? [];
    return all.filter(({ createdAt }) => Math.abs(now - createdAt) < unfinishedRequestLimit).length;
  }

  /** Milliseconds before the first CSR of this run. */
  delayFor(name: string, now: Instant): number {
    return requestDelay(this.outstanding(name, now));
  }

  /** False if the CSR is known: the enroller reports it again when it resumes an attempt. */
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
   * An inspection found a pair. If an earlier run was killed right after it linked this pair, the
   * count was not cleared.
   * @param csr the name of the CSR for the key of that pair
   * @returns whether this agent created that CSR
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

/** More entries would not lengthen any delay. */
const longest = 10;
