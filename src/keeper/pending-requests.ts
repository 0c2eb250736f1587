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
  /** Consecutive checks without the expected reply. */
  readonly silence: number;
}

/**
 * The requests that the enroller has not finished. The supervisor keeps the enroller while a
 * request is left, because the enroller may have a key for that request. Delivers each reply to
 * its own request, so that a late reply never counts as a reply to a newer request.
 */
export class PendingRequests {
  readonly #pending = new Map<RequestId, Pending>();
  /**
   * Unique across enrollers, so that a reply from a lost enroller never counts for a later
   * request.
   */
  #lastId: RequestId = 0;

  /** True if the enroller has no request to finish. */
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

  /**
   * Marks the enrollment of this name as superseded: the enroller forgets its key, or another
   * request continues with the key.
   */
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

/** The pending request after this reply; undefined after the last reply. */
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
