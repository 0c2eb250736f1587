import type { DecisionCode } from './decision.ts';
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
  /** Consecutive holds with this code. */
  holds = 0;
  /** Consecutive failures to record a decision. */
  failures = 0;
  /** The outcome of the last request is unknown, so the CSR has to be read before the next one. */
  isStale = false;
  /** The version for which the API server answered a request of ours. */
  answeredVersion: string | undefined;

  constructor(csr: WatchedCsr, seenAt: number) {
    this.csr = csr;
    this.seenAt = seenAt;
  }

  /** Stores the reason for the wait. True if the reason is new. */
  wait(code: DecisionCode): boolean {
    const changed = this.code !== code;
    this.code = code;
    this.holds = changed ? 1 : this.holds + 1;
    return changed;
  }
}

/** The pending CSRs by name, by node and by reason. */
export class PendingCsrs {
  readonly #all = new Map<string, PendingCsr>();
  readonly #byNode = new Map<string, Set<string>>();

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
    const node = nodeOf(pending.csr) ?? '';
    const names = this.#byNode.get(node);
    if (names === undefined) this.#byNode.set(node, new Set([name]));
    else names.add(name);
  }

  delete(name: string): void {
    const pending = this.#all.get(name);
    if (pending === undefined) return;
    this.#all.delete(name);
    const node = nodeOf(pending.csr) ?? '';
    const names = this.#byNode.get(node);
    names?.delete(name);
    if (names?.size === 0) this.#byNode.delete(node);
  }

  *withCode(code: DecisionCode): Generator<string, void> {
    for (const [name, pending] of this.#all) if (pending.code === code) yield name;
  }

  ofNode(node: string): Iterable<string> {
    return this.#byNode.get(node) ?? [];
  }
}
