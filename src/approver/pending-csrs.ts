import type { DecisionCode } from './decision.ts';
import type { NameSets } from './name-sets.ts';
import { addName, removeName } from './name-sets.ts';
import type { RequestKind } from './recorder.ts';
import type { RequestReading } from './request/read-request.ts';
import type { WatchedCsr } from './watched-csr.ts';
import { nodeOf } from './watched-csr.ts';

/** A CSR that waits for a decision, and what was tried so far. */
export class PendingCsr {
  csr: WatchedCsr;
  /** The parsed request, which never changes. */
  reading: RequestReading | undefined;
  /** On the monotonic clock. */
  readonly seenAt: number;
  /** Why the CSR still waits; undefined before the first evaluation. */
  code: DecisionCode | undefined;
  /** When the CSR began to wait for this reason, on the monotonic clock. */
  heldSince = 0;
  /** Consecutive holds with this code. */
  holds = 0;
  /** Consecutive failures to record a decision. */
  failures = 0;
  /** The outcome of the last request is unknown, so the CSR has to be read before the next one. */
  isStale = false;
  /** The API server did not allow this request, without which the CSR cannot go on. */
  forbidden: RequestKind | undefined;
  /** The version for which the API server answered a request of ours. */
  answeredVersion: string | undefined;

  constructor(csr: WatchedCsr, seenAt: number) {
    this.csr = csr;
    this.seenAt = seenAt;
  }
}

/** The pending CSRs by name, by node and by reason. */
export class PendingCsrs {
  readonly #all = new Map<string, PendingCsr>();
  readonly #byNode: NameSets<string> = new Map();
  readonly #byCode: NameSets<DecisionCode> = new Map();

  get size(): number {
    return this.#all.size;
  }

  names(): Iterable<string> {
    return this.#all.keys();
  }

  all(): Iterable<PendingCsr> {
    return this.#all.values();
  }

  get(name: string): PendingCsr | undefined {
    return this.#all.get(name);
  }

  add(pending: PendingCsr): void {
    const { name } = pending.csr;
    this.#all.set(name, pending);
    addName(this.#byNode, nodeOf(pending.csr) ?? '', name);
  }

  /** Stores the reason for the wait. True if the reason is new. */
  wait(pending: PendingCsr, code: DecisionCode): boolean {
    pending.forbidden = undefined;
    const { name } = pending.csr;
    const changed = pending.code !== code;
    if (changed && this.#all.get(name) === pending) {
      if (pending.code !== undefined) removeName(this.#byCode, pending.code, name);
      addName(this.#byCode, code, name);
    }
    pending.code = code;
    pending.holds = changed ? 1 : pending.holds + 1;
    return changed;
  }

  delete(name: string): void {
    const pending = this.#all.get(name);
    if (pending === undefined) return;
    this.#all.delete(name);
    removeName(this.#byNode, nodeOf(pending.csr) ?? '', name);
    if (pending.code !== undefined) removeName(this.#byCode, pending.code, name);
  }

  withCode(code: DecisionCode): Iterable<string> {
    return this.#byCode.get(code) ?? [];
  }

  /** CSRs that cannot go on without this request. */
  withRefused(request: RequestKind): string[] {
    return [...this.#all.values()].flatMap(({ csr, forbidden }) =>
      forbidden === request ? [csr.name] : [],
    );
  }

  ofNode(node: string): Iterable<string> {
    return this.#byNode.get(node) ?? [];
  }
}
