import type { HookedPair } from '../core/hooks.ts';
import type { Instant } from '../core/instant.ts';

/** The state of hooks and rollbacks that survives a restart, by certificate. */
export type HookRecords = Readonly<Record<string, SavedHooks>>;

export interface SavedHooks {
  /** Serial of the pair whose hooks have not all succeeded. */
  readonly hooksPending?: string;
  /** The names of the certificates that a renewal replaced. */
  readonly renewed?: readonly string[];
  /** The serial of the latest renewal of each certificate, by name, that the agent knows. */
  readonly reported?: Readonly<Record<string, string>>;
  readonly rolledBack?: SavedRollback;
}

export interface RenewedCertificate {
  readonly name: string;
  readonly serial: string;
}

/** A rollback from one pair to the previous one, by their serials. */
export interface SavedRollback {
  readonly from: string;
  readonly to: string;
  /** Rollbacks in a row, this one included. */
  readonly count: number;
  /** No new certificate is requested before this moment. */
  readonly until: Instant;
}

/**
 * Remembers pending hooks across restarts, because a server that was not reloaded would serve the
 * previous certificate until its expiry. Remembers rollbacks too: the previous pair is usually
 * due for rotation, so each restart would request the next one at once.
 */
export class HookJournal {
  readonly #records: Map<string, SavedHooks>;
  readonly #save: (records: HookRecords) => void;

  /** @param save called after each change; must not throw */
  constructor(records: HookRecords, save: (records: HookRecords) => void) {
    this.#records = new Map(Object.entries(records));
    this.#save = save;
  }

  /** Serial of the pair whose hooks are pending. */
  pending(name: string): string | undefined {
    return this.#of(name).hooksPending;
  }

  /** The certificates whose hooks are pending after a renewal. */
  renewed(name: string): readonly string[] {
    return this.#of(name).renewed ?? [];
  }

  addPending(name: string, { serial, renewed }: HookedPair): void {
    const record = { ...this.#of(name), hooksPending: serial };
    this.#set(name, renewed === undefined ? record : { ...record, renewed });
  }

  /** The hooks of this pair have succeeded, or another pair has replaced it. */
  clearPending(name: string, serial: string): void {
    const { hooksPending, renewed: _, ...rest } = this.#of(name);
    if (hooksPending === serial) this.#set(name, rest);
  }

  /** Serials of the latest renewal of each certificate that the agent knows. */
  reported(name: string): readonly string[] {
    return Object.values(this.#of(name).reported ?? {});
  }

  addReported(name: string, renewed: readonly RenewedCertificate[]): void {
    const serials = renewed.map((certificate) => [certificate.name, certificate.serial] as const);
    const record = this.#of(name);
    const reported = { ...record.reported, ...Object.fromEntries(serials) };
    this.#set(name, { ...record, reported });
  }

  rollback(name: string): SavedRollback | undefined {
    return this.#of(name).rolledBack;
  }

  addRollback(name: string, rollback: Omit<SavedRollback, 'count'>): void {
    const count = this.nextCount(name);
    this.#set(name, { hooksPending: rollback.to, rolledBack: { ...rollback, count } });
  }

  /** The count of the next rollback. */
  nextCount(name: string): number {
    return (this.rollback(name)?.count ?? 0) + 1;
  }

  /** The servers serve this pair. A new pair ends the rollbacks in a row. */
  served(name: string, serial: string): void {
    const { rolledBack, ...rest } = this.#of(name);
    if (rolledBack !== undefined && rolledBack.to !== serial) this.#set(name, rest);
  }

  #of(name: string): SavedHooks {
    return this.#records.get(name) ?? {};
  }

  #set(name: string, record: SavedHooks): void {
    this.#records.set(name, record);
    this.#save(Object.fromEntries(this.#records));
  }
}
