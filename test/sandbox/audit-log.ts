/** One request to the API, as an audit log of a real API server has it. */
export interface AuditEntry {
  readonly user: string;
  /** get, list, watch, create, update, delete. */
  readonly verb: string;
  /** The plural, or the path where the request was for no object. */
  readonly resource: string;
  readonly subresource: string | undefined;
  readonly name: string | undefined;
  readonly code: number;
}

/** The latest requests; older ones are dropped, since a sandbox may run for days. */
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
