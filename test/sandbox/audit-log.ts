/** One request, with the fields of a real API server's audit log. */
export interface AuditEntry {
  readonly user: string;
  /** get, list, watch, create, update, delete. */
  readonly verb: string;
  /** The plural of the resource, or the path if there is none. */
  readonly resource: string;
  readonly subresource: string | undefined;
  readonly name: string | undefined;
  readonly code: number;
}

/** The latest requests. Older ones are dropped, because a sandbox may run for days. */
export class AuditLog {
  readonly #limit: number;
  #entries: AuditEntry[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  get entries(): readonly AuditEntry[] {
    return this.#entries;
  }

  record(entry: AuditEntry): void {
    this.#entries.push(entry);
    if (this.#entries.length > 2 * this.#limit) this.#entries = this.#entries.slice(-this.#limit);
  }
}
