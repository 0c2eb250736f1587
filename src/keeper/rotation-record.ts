import type { PairFacts } from '../core/certificate.ts';
import type { CsrReference, EnrollmentProgress } from '../core/enroller-protocol.ts';
import type { ErrorCode, Failure } from '../core/errors.ts';
import { formatInstant, second } from '../core/instant.ts';
import type { LogFields } from '../core/log-events.ts';
import type { RequestJournal } from './request-journal.ts';
import { RotationLog } from './rotation-log.ts';
import type { RotationLogOptions } from './rotation-log.ts';

/** What is counted; the metrics have the matching methods. */
export interface RotationObserver {
  recordRequested(name: string): void;
  recordStored(stored: {
    readonly name: string;
    /** Seconds since the notBefore of the pair that was replaced. */
    readonly ageOfReplaced?: number;
    /** Seconds from the decision to ask for a certificate to the stored pair. */
    readonly seconds: number;
  }): void;
  recordFailure(name: string, code: ErrorCode): void;
}

export interface RotationRecordOptions extends RotationLogOptions {
  readonly observer: RotationObserver;
  readonly journal: RequestJournal;
}

/** What of one certificate's story is kept: in the log, in the counters, and over restarts. */
export class RotationRecord {
  readonly log: RotationLog;
  readonly #options: RotationRecordOptions;
  #inspected = false;

  constructor(options: RotationRecordOptions) {
    this.#options = options;
    this.log = new RotationLog(options);
  }

  /** Milliseconds that the first request has to wait, for those that came to nothing before. */
  get delay(): number {
    const { clock, journal, spec } = this.#options;
    return journal.delayFor(spec.name, clock.now());
  }

  /**
   * What a look at the directory has shown, of a pair or of none.
   * @returns whether this agent has stored the pair without ever hearing of it
   */
  inspected(csr?: string): boolean {
    const { clock, journal, spec } = this.#options;
    const isUnheardOf = csr !== undefined && journal.found(spec.name, csr);
    if (this.#inspected) return isUnheardOf;
    this.#inspected = true;
    const count = journal.outstanding(spec.name, clock.now());
    if (count > 0) this.log.log('csr_unfinished', { count, ...this.#delayed() });
    return isUnheardOf;
  }

  #delayed(): LogFields {
    const { delay } = this;
    return delay > 0 ? { retryAt: formatInstant(this.#options.clock.now() + delay) } : {};
  }

  progressed({ type, csr }: Extract<EnrollmentProgress, { readonly csr: CsrReference }>): void {
    this.log.waitEnded();
    if (type === 'requested') return this.#requested(csr);
    this.log.log(type === 'approved' ? 'csr_approved' : 'csr_issued', { csr: csr.name });
  }

  stored(pair: PairFacts, past: { readonly seconds: number; readonly replaced?: PairFacts }): void {
    const { clock, journal, observer, spec } = this.#options;
    const { replaced, seconds } = past;
    journal.clear(spec.name);
    observer.recordStored({
      name: spec.name,
      seconds,
      // A stand-in is replaced as soon as can be: its age says nothing about rotations.
      ...(replaced?.selfSigned === false && {
        ageOfReplaced: (clock.now() - replaced.notBefore) / second,
      }),
    });
    this.log.waitEnded();
    this.log.stored(pair, seconds);
  }

  /** Counted before it is acted upon; its line names what is done about it. */
  failed({ code }: Failure): void {
    this.#options.observer.recordFailure(this.#options.spec.name, code);
  }

  retrying(failure: Failure): void {
    if (this.log.retrying(failure)) this.failed(failure);
  }

  /** Once for each request: the enroller repeats itself when it carries on. */
  #requested(csr: CsrReference): void {
    const { journal, observer, spec } = this.#options;
    if (!journal.add(spec.name, csr)) return;
    observer.recordRequested(spec.name);
    this.log.log('csr_created', { csr: csr.name });
  }
}
