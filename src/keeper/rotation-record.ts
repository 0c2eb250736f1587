import type { PairFacts } from '../core/certificate.ts';
import type { CsrReference, EnrollmentProgress } from '../core/enroller-protocol.ts';
import type { ErrorCode, Failure } from '../core/errors.ts';
import { formatInstant, second } from '../core/instant.ts';
import type { LogFields } from '../core/log-events.ts';
import type { RequestJournal } from './request-journal.ts';
import { RotationLog } from './rotation-log.ts';
import type { RotationLogOptions } from './rotation-log.ts';

/** Counts events of rotations; src/metrics implements it. */
export interface RotationObserver {
  recordRequested(name: string): void;
  recordStored(stored: {
    readonly name: string;
    /** Seconds since the notBefore of the pair that was replaced. */
    readonly ageOfReplaced?: number;
    /** Seconds from the decision to request a certificate to the stored pair. */
    readonly seconds: number;
  }): void;
  recordFailure(name: string, code: ErrorCode): void;
}

export interface RotationRecordOptions extends RotationLogOptions {
  readonly observer: RotationObserver;
  readonly journal: RequestJournal;
}

/** Logs and counts the events of one certificate, and remembers its CSRs over restarts. */
export class RotationRecord {
  readonly log: RotationLog;
  readonly #options: RotationRecordOptions;
  #inspected = false;

  constructor(options: RotationRecordOptions) {
    this.#options = options;
    this.log = new RotationLog(options);
  }

  /** Milliseconds before the first request, because earlier CSRs are unfinished. */
  get delay(): number {
    const { clock, journal, spec } = this.#options;
    return journal.delayFor(spec.name, clock.now());
  }

  /**
   * The directory was inspected.
   * @param csr the name of the CSR for the key of the pair that was found
   * @returns whether an earlier run stored this pair and ended before it could record that
   */
  inspected(csr?: string): boolean {
    const { clock, journal, spec } = this.#options;
    const isUnrecorded = csr !== undefined && journal.found(spec.name, csr);
    if (this.#inspected) return isUnrecorded;
    this.#inspected = true;
    const count = journal.outstanding(spec.name, clock.now());
    if (count > 0) this.log.log('csr_unfinished', { count, ...this.#delayed() });
    return isUnrecorded;
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
      // The age of a temporary self-signed certificate is not the age of a rotated one.
      ...(replaced?.selfSigned === false && {
        ageOfReplaced: (clock.now() - replaced.notBefore) / second,
      }),
    });
    this.log.waitEnded();
    this.log.stored(pair, seconds);
  }

  /** Only counts the failure. The log line follows when the next attempt is scheduled. */
  failed({ code }: Failure): void {
    this.#options.observer.recordFailure(this.#options.spec.name, code);
  }

  retrying(failure: Failure): void {
    if (this.log.retrying(failure)) this.failed(failure);
  }

  /** Once for each CSR: the enroller reports it again when it resumes an attempt. */
  #requested(csr: CsrReference): void {
    const { journal, observer, spec } = this.#options;
    if (!journal.add(spec.name, csr)) return;
    observer.recordRequested(spec.name);
    this.log.log('csr_created', { csr: csr.name });
  }
}
