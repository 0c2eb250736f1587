import type { EnrollerReply, EnrollerRequest, RequestId } from '../core/enroller-protocol.ts';
import type { Lost } from './enroller-link.ts';

interface Pending {
  readonly request: EnrollerRequest;
  readonly onReply: (reply: EnrollerReply | Lost) => void;
  /** The next step is up to an approver, a signer, the Node or the keeper, so no reply is expected. */
  readonly waits: boolean;
  /** A CSR is pending, and an enrollment that resumes may wait for it without a reply. */
  readonly csrPending: boolean;
  /** A newer request replaced it. Late replies are delivered, and none is expected. */
  readonly superseded: boolean;
  /** Checks in a row that found no reply although one is expected. */
  readonly silence: number;
}

/**
 * Every request that the enroller has not finished. The enroller holds a key for some of them,
 * so it is not dismissed while one is left. Delivers each reply to its own request: a late
 * reply must not end a newer request or count as its reply.
 */
export class PendingRequests {
  readonly #pending = new Map<RequestId, Pending>();
  /** Numbered over all enrollers, so that no reply of a lost one is taken for a later request's. */
  #lastId: RequestId = 0;

  /** Nothing is left that the enroller has to finish. */
  get isEmpty(): boolean {
    return [...this.#pending.values()].every(({ superseded }) => superseded);
  }

  open(request: EnrollerRequest, onReply: Pending['onReply']): RequestId {
    const previous = request.type === 'enroll' ? this.supersede(request.name) : undefined;
    const csrPending = previous?.csrPending === true;
    const pending = { request, onReply, csrPending, waits: csrPending };
    this.#lastId += 1;
    this.#pending.set(this.#lastId, { ...pending, superseded: false, silence: 0 });
    return this.#lastId;
  }

  /** Drops the enrollment of this name: its key is forgotten, or another request continues with it. */
  supersede(name: string): Pending | undefined {
    let current: Pending | undefined;
    for (const [id, pending] of this.#pending) {
      if (pending.request.type !== 'enroll' || pending.request.name !== name) continue;
      if (pending.superseded) this.#pending.delete(id);
      else {
        current = pending;
        this.#pending.set(id, { ...pending, superseded: true });
      }
    }
    return current;
  }

  deliver(id: RequestId, reply: EnrollerReply): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    const next = afterReply(pending, reply);
    if (next === undefined) this.#pending.delete(id);
    else this.#pending.set(id, next);
    pending.onReply(reply);
  }

  /**
   * Called at even intervals. Returns a request that has had no reply for more than `limit`
   * calls. Counts calls, not time, so that a suspended night counts once.
   */
  overdue(limit: number): string | undefined {
    for (const [id, pending] of this.#pending) {
      if (pending.waits || pending.superseded) continue;
      this.#pending.set(id, { ...pending, silence: pending.silence + 1 });
      if (pending.silence >= limit) return describe(pending.request);
    }
    return undefined;
  }

  /** The enroller ended. Every request gets `lost`, or nothing if the enroller was dismissed. */
  clear(lost?: Lost): void {
    const all = [...this.#pending.values()];
    this.#pending.clear();
    if (lost !== undefined) for (const { onReply } of all) onReply(lost);
  }
}

/** What is left of a request after this reply; undefined when it was the last one. */
function afterReply(pending: Pending, reply: EnrollerReply): Pending | undefined {
  switch (reply.type) {
    case 'requested':
    case 'approved':
    case 'retrying':
    case 'recovered':
      return { ...pending, waits: true, csrPending: true, silence: 0 };
    case 'issued':
      return { ...pending, waits: false, csrPending: false, silence: 0 };
    case 'failed':
      return reply.resumable ? { ...pending, waits: true, silence: 0 } : undefined;
    case 'addresses':
      return reply.final ? undefined : { ...pending, waits: true, silence: 0 };
    case 'inspected':
    case 'inspection-failed':
    case 'stored':
    case 'addresses-failed':
    case 'served':
    case 'rolled-back':
    case 'preflight':
      return undefined;
    default:
      return reply satisfies never;
  }
}

function describe(request: EnrollerRequest): string {
  return 'name' in request ? `${request.type} ${request.name}` : request.type;
}
