import type { CertificateSpec, CertificateTemplate } from '../core/certificate-spec.ts';
import type { AttemptId, EnrollerReport } from '../core/enroller-protocol.ts';
import { second } from '../core/instant.ts';
import type { Instant } from '../core/instant.ts';
import type { Clock } from '../sys/clock.ts';
import type { EnrollerLink } from './enroller-link.ts';

/** What concerns the way of one certificate to its pair. */
export type CertificateReport = Exclude<
  Extract<EnrollerReport, { readonly name: string }>,
  AftermathReport
>;

/** What concerns what comes after that. */
export type AftermathReport = Extract<EnrollerReport, { readonly type: 'served' | 'rolled-back' }>;

/** What becomes of a request before there is a certificate. */
export type ProgressReport = Extract<
  CertificateReport,
  { readonly type: 'requested' | 'approved' | 'issued' }
>;

export interface ErrandsOptions {
  readonly spec: CertificateSpec;
  readonly clock: Clock;
  readonly enroller: EnrollerLink;
}

/**
 * What one certificate has the enroller do, and which of its answers still count. A
 * request that is given up may have been answered a moment before: counted as the
 * next one's, that failure would make the keeper wait beside work that goes on, and
 * that pair would pass for what was asked for last.
 */
export class EnrollerErrands {
  readonly #options: ErrandsOptions;
  #attempts = 0;
  /** The attempt under way. */
  #attempt: AttemptId | undefined;
  /** When a certificate was first asked for; a try that is resumed does not begin anew. */
  #askingSince: Instant | undefined;
  #selfSigning = false;

  constructor(options: ErrandsOptions) {
    this.#options = options;
  }

  inspect(): void {
    const { enroller, spec } = this.#options;
    enroller.send({ type: 'inspect', name: spec.name });
  }

  /** A server needs a pair to start at all; the cluster's takes over when it is issued. */
  selfSign(): void {
    const { enroller, spec } = this.#options;
    if (!spec.selfSignedUntilIssued || this.#selfSigning) return;
    this.#selfSigning = true;
    enroller.send({ type: 'self-sign', name: spec.name });
  }

  /** The stand-in is there or will not come: the next one may be asked for. */
  selfSigned(): void {
    this.#selfSigning = false;
  }

  enroll(template: CertificateTemplate): void {
    const { clock, enroller, spec } = this.#options;
    this.#askingSince ??= clock.now();
    this.#attempts += 1;
    this.#attempt = this.#attempts;
    enroller.send({ type: 'enroll', name: spec.name, attempt: this.#attempt, template });
  }

  abandon(): void {
    const { enroller, spec } = this.#options;
    this.ended({ resumable: false });
    enroller.send({ type: 'abandon', name: spec.name });
  }

  /** The attempt came to its end, or nobody is left to bring it there. */
  ended({ resumable }: { readonly resumable: boolean }): void {
    this.#attempt = undefined;
    if (!resumable) this.#askingSince = undefined;
  }

  /** False for what became of an attempt that was given up. */
  counts(report: CertificateReport): boolean {
    switch (report.type) {
      case 'inspected':
      case 'inspection-failed':
        return true;
      default:
        return report.attempt === this.#attempt;
    }
  }

  /** How long a certificate has been asked for. */
  get seconds(): number {
    const now = this.#options.clock.now();
    return (now - (this.#askingSince ?? now)) / second;
  }
}
