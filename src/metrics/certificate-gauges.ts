import type { Instant } from '../core/instant.ts';
import { second } from '../core/instant.ts';
import type { AgentStatus, CertificateStatus } from '../core/status.ts';
import { certificateStates } from '../core/status.ts';
import type { Registry } from './prom-client.ts';
import { Gauge } from './prom-client.ts';

/**
 * The status of each certificate as gauges. Every scrape resets and fills them, so the
 * series of an old serial, CSR or certificate disappear and no value is older than the
 * scrape.
 *
 * An unknown time has no series: zero would read as 1970 and fire every alert that
 * subtracts it from now.
 */
export class CertificateGauges {
  readonly #notBefore: Gauge<'certificate'>;
  readonly #notAfter: Gauge<'certificate'>;
  readonly #deadline: Gauge<'certificate'>;
  readonly #expiration: Gauge<'certificate'>;
  readonly #usable: Gauge<'certificate'>;
  readonly #overdue: Gauge<'certificate'>;
  readonly #failures: Gauge<'certificate'>;
  readonly #state: Gauge<'certificate' | 'state'>;
  readonly #info: Gauge<'certificate' | 'serial' | 'signer' | 'path'>;
  readonly #pendingSince: Gauge<'certificate' | 'csr'>;

  constructor(registry: Registry) {
    const gauge = <Label extends string = never>(
      name: string,
      help: string,
      labels: readonly Label[] = [],
    ): Gauge<Label | 'certificate'> =>
      new Gauge({
        name,
        help,
        labelNames: ['certificate', ...labels],
        registers: [registry],
      });
    this.#notBefore = gauge(
      'nodecertd_certificate_not_before_timestamp_seconds',
      'Start of the validity of the current certificate, as a Unix time; absent without a certificate.',
    );
    this.#notAfter = gauge(
      'nodecertd_certificate_not_after_timestamp_seconds',
      'End of the validity of the current certificate, as a Unix time; absent without a certificate.',
    );
    this.#deadline = gauge(
      'nodecertd_certificate_rotation_deadline_timestamp_seconds',
      'Rotation deadline of the current certificate, as a Unix time; absent without a certificate.',
    );
    this.#expiration = gauge(
      'nodecertd_certificate_expiration_seconds',
      'Seconds until the current certificate expires, negative after that; absent without a certificate.',
    );
    this.#state = gauge(
      'nodecertd_certificate_state',
      '1 for the state the certificate is in, 0 for every other state.',
      ['state'],
    );
    this.#usable = gauge(
      'nodecertd_certificate_usable',
      '1 while the current certificate is valid and issued by the cluster.',
    );
    this.#overdue = gauge(
      'nodecertd_certificate_rotation_overdue',
      '1 while the rotation deadline has passed and the certificate has not been rotated.',
    );
    this.#failures = gauge(
      'nodecertd_certificate_consecutive_failures',
      'Failed attempts since the last success; unlike a rate, it stays up between attempts that are hours apart.',
    );
    this.#info = gauge(
      'nodecertd_certificate_info',
      'Always 1; the labels identify the current certificate. The serial is empty without a certificate.',
      ['serial', 'signer', 'path'],
    );
    this.#pendingSince = gauge(
      'nodecertd_csr_pending_since_timestamp_seconds',
      'When the pending certificate signing request was created, as a Unix time; absent without a request.',
      ['csr'],
    );
  }

  refresh(status: AgentStatus): void {
    this.#reset();
    for (const certificate of status.certificates) {
      this.#setState(certificate);
      this.#setTimes(certificate, status.now);
    }
  }

  #reset(): void {
    const byCertificate = [
      this.#notBefore,
      this.#notAfter,
      this.#deadline,
      this.#expiration,
      this.#usable,
      this.#overdue,
      this.#failures,
    ];
    for (const gauge of [...byCertificate, this.#state, this.#info, this.#pendingSince]) {
      gauge.reset();
    }
  }

  #setState(status: CertificateStatus): void {
    const certificate = status.name;
    for (const state of certificateStates) {
      this.#state.set({ certificate, state }, Number(state === status.state));
    }
    this.#usable.set({ certificate }, Number(status.usable));
    this.#overdue.set({ certificate }, Number(status.overdue));
    this.#failures.set({ certificate }, status.attempts);
    const serial = status.current?.serial ?? '';
    this.#info.set({ certificate, serial, signer: status.signerName, path: status.path }, 1);
  }

  #setTimes(status: CertificateStatus, now: Instant): void {
    const certificate = status.name;
    const { current, rotationDeadline, csr } = status;
    if (current !== undefined) {
      this.#notBefore.set({ certificate }, current.notBefore / second);
      this.#notAfter.set({ certificate }, current.notAfter / second);
      this.#expiration.set({ certificate }, (current.notAfter - now) / second);
    }
    if (rotationDeadline !== undefined) {
      this.#deadline.set({ certificate }, rotationDeadline / second);
    }
    if (csr !== undefined) {
      this.#pendingSince.set({ certificate, csr: csr.name }, csr.createdAt / second);
    }
  }
}
