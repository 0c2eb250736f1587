import { basename } from 'node:path';
import type { PairFacts } from '../core/certificate.ts';
import type { CertificateSpec } from '../core/certificate-spec.ts';
import type { Finding, Observed } from '../core/enroller-protocol.ts';
import type { ErrorCode, Failure } from '../core/errors.ts';
import { formatDuration, formatInstant, minute, second } from '../core/instant.ts';
import type { Instant } from '../core/instant.ts';
import type { LogEvent, LogFields } from '../core/log-events.ts';
import { failureFields, findingEvent } from '../core/log-events.ts';
import { approvalRemedy } from '../core/remedies.ts';
import { isOverdue, retryAt } from '../core/rotation-due.ts';
import type { RotationEffect, RotationState } from '../core/rotation-state.ts';
import { lifetimeStart } from '../core/schedule.ts';
import type { Clock } from '../sys/clock.ts';
import type { Logger } from '../sys/log.ts';
import type { LastEvent } from './certificate-status.ts';

export interface RotationLogOptions {
  readonly spec: CertificateSpec;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Writes the log lines of one certificate. Logs a lasting condition when it begins and when it
 * ends.
 */
export class RotationLog {
  readonly #options: RotationLogOptions;
  #lastEvent: LastEvent | undefined;
  #overdue = false;
  /** The pair that the agent stored, until the next inspection. */
  #stored: PairFacts | undefined;
  #missing: LogEvent | undefined;
  #shortLived = false;
  #observed: Observed | undefined;
  /** True after a lost contact was logged, until its recovery is logged. */
  #lostContact = false;
  #failure: { readonly code: ErrorCode; readonly at: Instant } | undefined;

  constructor(options: RotationLogOptions) {
    this.#options = options;
  }

  /** The latest event, for the status. */
  get lastEvent(): LastEvent | undefined {
    return this.#lastEvent;
  }

  log(event: LogEvent, fields: LogFields = {}): void {
    const { logger, clock, spec } = this.#options;
    logger.log(event, { certificate: spec.name, ...fields });
    const text = fields['code'] === undefined ? event : `${event} ${String(fields['code'])}`;
    this.#lastEvent = { at: clock.now(), text };
  }

  /** The wait for a CSR has ended. */
  waitEnded(): void {
    this.#failure = undefined;
    this.recovered();
  }

  /** The API server answers again. */
  recovered(): void {
    if (this.#lostContact) this.log('csr_wait_recovered');
    this.#lostContact = false;
  }

  /** A new attempt logs its first failure again. */
  started(reason: string): void {
    this.#failure = undefined;
    this.log('rotation_started', { reason });
  }

  /** @param seconds from the decision to request it; absent for an abandoned attempt */
  stored(pair: PairFacts, seconds?: number): void {
    this.#stored = pair;
    this.log('certificate_stored', {
      ...pairFields(pair),
      ...(seconds !== undefined && { seconds }),
    });
    const { expirationSeconds: requested } = this.#options.spec;
    const issued = Math.round((pair.notAfter - lifetimeStart(pair)) / second);
    // Signers backdate notBefore and subtract that from the lifetime, so a tenth less is normal.
    if (requested !== undefined && issued < requested * 0.9) {
      this.log('certificate_lifetime_short', { asked: requested, issued });
    }
  }

  deadline({ pair, deadline }: RotationState): void {
    // A temporary self-signed certificate is replaced as soon as possible.
    if (pair === undefined || deadline === undefined || pair.selfSigned) return;
    const seconds = Math.round((deadline - this.#options.clock.now()) / second);
    this.log('rotation_deadline', { ...pairFields(pair), deadline: formatInstant(deadline) });
    if (seconds > 0) this.log('rotation_waiting', { seconds });
    this.#checkTimeLeft(pair.notAfter - lifetimeStart(pair));
  }

  /**
   * Only for certificates that the agent rotates, because a kubelet loads its own certificates at
   * once.
   * @param lifetime in milliseconds
   */
  #checkTimeLeft(lifetime: number): void {
    const { profile, rotationWindow } = this.#options.spec;
    const shareLeft = 1 - rotationWindow.to;
    const timeLeft = Math.round(lifetime * shareLeft);
    const short =
      profile === 'kubelet-client' && this.#observed === undefined && timeLeft < kubeletInterval;
    if (short && !this.#shortLived) {
      const least = Math.round(kubeletInterval / shareLeft) + backdate;
      this.log('lifetime_too_short_for_kubelet', {
        seconds: Math.max(Math.round(timeLeft / second), 0),
        remedy: `Configure the signer to issue client certificates for at least ${formatDuration(least)}, or lower rotation.to in the configuration`,
      });
    }
    this.#shortLived = short;
  }

  findings(findings: readonly Finding[]): void {
    for (const { kind, path, detail } of findings) this.log(findingEvent(kind), { path, detail });
  }

  failed(failure: Failure, { phase, failures }: RotationState): void {
    if (csrVerdicts.has(failure.code)) this.waitEnded();
    const csr = phase.kind === 'backing-off' ? phase.csr : undefined;
    this.log('rotation_failed', {
      attempt: failures,
      ...failureFields(failure),
      ...(csr !== undefined && { csr: csr.name }),
      ...(phase.kind === 'backing-off' && { retryAt: formatInstant(retryAt(phase)) }),
    });
  }

  /**
   * Returns false if the same failure was logged in the last ten minutes, because requests to an
   * unreachable server fail every few seconds.
   */
  retrying(failure: Failure): boolean {
    const { code } = failure;
    const now = this.#options.clock.now();
    const known = this.#failure;
    if (known?.code === code && Math.abs(now - known.at) < retryingInterval) return false;
    this.#failure = { code, at: now };
    this.#lostContact = true;
    this.log('csr_wait_retrying', failureFields(failure));
    return true;
  }

  /** Logs that a CSR is not approved or not issued, and what to do. */
  remind({ type, csr, ms }: Reminder): void {
    const { signerName: signer } = this.#options.spec;
    const fields = { csr: csr.name, signer, waiting: formatDuration(ms) };
    if (type === 'remind-approver') {
      const { hold } = csr;
      return this.log('csr_pending', {
        ...fields,
        ...(hold && { reason: `${hold.reason}: ${hold.message}` }),
        remedy: hold?.remedy ?? approvalRemedy(csr.name, signer),
      });
    }
    this.log('csr_unissued', {
      ...fields,
      remedy: `Check that a controller signs for ${signer}: kubectl describe csr ${csr.name}`,
    });
  }

  /**
   * Logs once that addresses or the client certificate are missing, but not before the first
   * inspection.
   */
  missing({ phase, template, identityReady, observed }: RotationState): void {
    if (phase.kind === 'inspecting' || observed) return;
    const addresses = template === undefined ? ('waiting_for_addresses' as const) : undefined;
    // Without the client certificate, the agent cannot read the addresses either.
    const missing = identityReady ? addresses : ('waiting_for_identity' as const);
    if (missing !== undefined && missing !== this.#missing) this.log(missing);
    this.#missing = missing;
  }

  overdue(state: RotationState): void {
    const overdue = isOverdue(state, this.#options.clock.now());
    if (overdue === this.#overdue) return;
    this.#overdue = overdue;
    const { deadline, pair } = state;
    this.log(overdue ? 'rotation_overdue' : 'rotation_overdue_over', {
      ...(pair !== undefined && pairFields(pair)),
      ...(deadline !== undefined && { deadline: formatInstant(deadline) }),
      ...(overdue && { remedy: this.#overdueRemedy }),
    });
  }

  get #overdueRemedy(): string {
    return this.#observed === undefined
      ? 'Read the rotation_failed lines and run: nodecertd status'
      : 'Find out why the kubelet does not rotate the certificate: journalctl -u kubelet | grep -i certificate';
  }

  /** Logs when the kubelet starts or stops rotating this certificate. */
  observed(observed: Observed | undefined): void {
    const known = this.#observed;
    this.#observed = observed;
    if (observed === undefined) {
      if (known !== undefined) this.log('deferring_to_kubelet_over');
      return;
    }
    const { file: path, key } = observed;
    if (path === known?.file && key === known.key) return;
    const remedy = 'Let nodecertd rotate the certificate: nodecertd adopt';
    this.log('deferring_to_kubelet', { path, key, remedy });
  }

  /** Logs an inspection that found another pair than the known one. */
  found({ path, known, pair, isOurs }: Found): void {
    const stored = this.#stored;
    this.#stored = undefined;
    if (samePair(known, pair)) return;
    // An abandoned attempt, or one whose report is still on its way, may have stored this pair.
    const ours = isOurs || (pair !== undefined && samePair(pair, stored));
    if (this.#observed !== undefined && known !== undefined && pair !== undefined) {
      this.log('pair_observed', pairFields(pair));
    } else if (known !== undefined && !ours) {
      this.log('pair_changed', { path, ...(pair !== undefined && pairFields(pair)) });
    }
  }
}

/** With these codes, the API server reports on the CSR, so contact has recovered. */
const csrVerdicts: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'CSR_DENIED',
  'CSR_FAILED',
  'CSR_DELETED',
]);

interface Found {
  readonly path: string;
  readonly known: PairFacts | undefined;
  readonly pair: PairFacts | undefined;
  /** This agent created the CSR of the pair. */
  readonly isOurs: boolean;
}

type Reminder = Extract<RotationEffect, { type: 'remind-approver' | 'remind-signer' }>;

const retryingInterval = 10 * minute;

/** How often a running kubelet reads its client certificate (client-go transport, CertCallbackRefreshDuration). */
const kubeletInterval = 5 * minute;

/** Signers backdate notBefore by this much, and subtract it from the lifetime. */
const backdate = 5 * minute;

function pairFields(pair: PairFacts): LogFields {
  return { serial: pair.serial, notAfter: formatInstant(pair.notAfter), path: pair.path };
}

/** Compares only the names of the files, because the path of the directory may contain a link. */
function samePair(a: PairFacts | undefined, b: PairFacts | undefined): boolean {
  const names = [a, b].map((pair) => pair && basename(pair.path));
  return names[0] === names[1] && a?.serial === b?.serial && a?.storedAt === b?.storedAt;
}
