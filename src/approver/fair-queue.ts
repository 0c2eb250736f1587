import { aborted } from '../kube/deadline.ts';
import { compareAge } from './csr-order.ts';
import { SortedList } from './sorted-list.ts';

export interface QueuedCsr {
  readonly name: string;
  readonly createdAt: number;
  readonly resourceVersion: string;
  /** CSRs with the same value share one turn: the name of the node, or one value for unknown nodes. */
  readonly turn: string;
}

/**
 * Takes nodes in turn, and the newest CSR of a node first. So a node with a thousand CSRs delays
 * the others by one CSR, and an outdated CSR does not delay the one that the kubelet waits for.
 * A CSR is with one worker at a time.
 */
export class FairQueue {
  /** In the order of the turns: the first key has the next turn. */
  readonly #turns = new Map<string, SortedList<QueuedCsr>>();
  readonly #waiting = new Map<string, QueuedCsr>();
  /** The CSRs that a worker has, each with its version to queue when the worker is done. */
  readonly #active = new Map<string, QueuedCsr | undefined>();
  readonly #idle: ((csr: QueuedCsr) => void)[] = [];

  /** The number of CSRs that no worker has yet. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Queues a CSR. If it is queued already, only its version and its turn may change. */
  add(csr: QueuedCsr): void {
    if (this.#active.has(csr.name)) {
      this.#active.set(csr.name, csr);
      return;
    }
    const queued = this.#waiting.get(csr.name);
    if (queued !== undefined && queued.turn === csr.turn) return;
    this.remove(csr.name);
    const worker = this.#idle.shift();
    if (worker !== undefined) {
      this.#active.set(csr.name, undefined);
      worker(csr);
      return;
    }
    this.#waiting.set(csr.name, csr);
    const turn = this.#turns.get(csr.turn) ?? new SortedList<QueuedCsr>(byAgeAndName);
    turn.add(csr);
    this.#turns.set(csr.turn, turn);
  }

  remove(name: string): void {
    if (this.#active.has(name)) this.#active.set(name, undefined);
    const csr = this.#waiting.get(name);
    if (csr === undefined) return;
    this.#waiting.delete(name);
    const turn = this.#turns.get(csr.turn);
    turn?.remove(csr);
    if (turn?.size === 0) this.#turns.delete(csr.turn);
  }

  /** The next CSR, when there is one. Call `done` afterwards. @throws AgentError ABORTED */
  async take(signal: AbortSignal): Promise<QueuedCsr> {
    if (signal.aborted) throw aborted('the queue', signal);
    const next = this.#next();
    if (next !== undefined) {
      this.#active.set(next.name, undefined);
      return next;
    }
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#idle.splice(this.#idle.indexOf(worker), 1);
        reject(aborted('the queue', signal));
      };
      const worker = (csr: QueuedCsr): void => {
        signal.removeEventListener('abort', abort);
        resolve(csr);
      };
      signal.addEventListener('abort', abort, { once: true });
      this.#idle.push(worker);
    });
  }

  /** The worker is done. Queues the CSR again if it was added in the meantime. */
  done(name: string): void {
    const again = this.#active.get(name);
    this.#active.delete(name);
    if (again !== undefined) this.add(again);
  }

  #next(): QueuedCsr | undefined {
    const [[turn, csrs] = []] = this.#turns;
    if (turn === undefined || csrs === undefined) return undefined;
    const newest = csrs.takeLast();
    this.#turns.delete(turn);
    // The other CSRs of this node wait until every node had its turn.
    if (csrs.size > 0) this.#turns.set(turn, csrs);
    if (newest !== undefined) this.#waiting.delete(newest.name);
    return newest;
  }
}

function byAgeAndName(left: QueuedCsr, right: QueuedCsr): number {
  return compareAge(left, right) || compareText(left.name, right.name);
}

export function compareText(left: string, right: string): number {
  return left < right ? -1 : Number(left > right);
}
