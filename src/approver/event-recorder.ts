import type { Failure } from '../core/errors.ts';
import { toFailure } from '../core/errors.ts';
import type { EventInput, EventObject } from '../kube/event-client.ts';
import { createEvent } from '../kube/event-client.ts';
import type { FollowEnvironment } from '../kube/follow.ts';
import { RateLimit } from './rate-limit.ts';
import type { WatchedCsr } from './watched-csr.ts';
import { nodeOf } from './watched-csr.ts';

export interface EventRecorderOptions {
  readonly environment: FollowEnvironment;
  /** The name of this process. */
  readonly instance: string;
  /** An Event could not be created; undefined once Events can be created again. */
  readonly onResult: (failure: Failure | undefined) => void;
}

type EventKind = Pick<EventInput, 'reason' | 'action' | 'type'>;

/** The reasons and actions of Events. Other people's tools filter by them, so they do not change. */
export const eventKinds = {
  approved: { reason: 'Approved', action: 'Approve', type: 'Normal' },
  denied: { reason: 'Denied', action: 'Deny', type: 'Warning' },
  held: { reason: 'Held', action: 'Hold', type: 'Warning' },
  ignored: { reason: 'Ignored', action: 'Ignore', type: 'Warning' },
  forbidden: { reason: 'Forbidden', action: 'Record', type: 'Warning' },
} as const satisfies Readonly<Record<string, EventKind>>;

/**
 * Creates Events about CSRs and Nodes, in the background. An Event only informs people, so a
 * failed one is not tried again, and a flood of CSRs does not cause a flood of Events.
 */
export class EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #limit: RateLimit;

  constructor(options: EventRecorderOptions) {
    const { clock } = options.environment;
    this.#options = options;
    this.#limit = new RateLimit({ clock, perSecond: 1, burst: 25 });
  }

  /** An Event about the CSR, and one about each further Node that the decision concerns. */
  record(
    {
      csr,
      kind,
      note,
      otherNodes = [],
    }: {
      readonly csr: WatchedCsr;
      readonly kind: keyof typeof eventKinds;
      readonly note: string;
      readonly otherNodes?: readonly string[];
    },
    signal: AbortSignal,
  ): void {
    const own = nodeOf(csr);
    const regarding: EventObject = {
      apiVersion: 'certificates.k8s.io/v1',
      kind: 'CertificateSigningRequest',
      name: csr.name,
      uid: csr.uid,
    };
    const related = own === undefined ? undefined : nodeObject(own);
    this.#create({ ...eventKinds[kind], note, regarding, ...(related && { related }) }, signal);
    for (const name of otherNodes) {
      this.#create(
        { ...eventKinds[kind], note, regarding: nodeObject(name), related: regarding },
        signal,
      );
    }
  }

  #create(event: Omit<EventInput, 'time'>, signal: AbortSignal): void {
    const { environment, instance } = this.#options;
    if (!this.#limit.tryTake()) return;
    const { clock } = environment;
    const source = { controller: 'nodecertd.io/approver', instance };
    const note = Buffer.from(event.note).subarray(0, longestNote).toString();
    void this.#send({ source, event: { ...event, note, time: clock.now() } }, signal);
  }

  async #send(input: Parameters<typeof createEvent>[1], signal: AbortSignal): Promise<void> {
    const { environment, onResult } = this.#options;
    try {
      await createEvent(environment.client(), input, signal);
      onResult(undefined);
    } catch (error) {
      if (!signal.aborted) onResult(toFailure(error));
    }
  }
}

/** In bytes. The API server accepts 1 KiB. */
const longestNote = 1000;

function nodeObject(name: string): EventObject {
  return { apiVersion: 'v1', kind: 'Node', name };
}
