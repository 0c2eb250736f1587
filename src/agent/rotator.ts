import type { PairFacts } from '../core/certificate.ts';
import type { CertificateSpec } from '../core/certificate-spec.ts';
import { sameTemplate } from '../core/identity.ts';
import type { CertificateTemplate } from '../core/certificate-spec.ts';
import type { EnrollerReport } from '../core/enrollment.ts';
import type { Failure } from '../core/errors.ts';
import { formatDuration, formatInstant, second } from '../core/instant.ts';
import type { Instant } from '../core/instant.ts';
import type { LogEvent, LogFields } from '../core/log-events.ts';
import { nextWake } from '../core/rotation-due.ts';
import { initialState } from '../core/rotation-state.ts';
import type { RotationEffect, RotationEvent, RotationState } from '../core/rotation-state.ts';
import { step } from '../core/rotation.ts';
import { lifetimeStart, rotationDeadline, rotationFraction } from '../core/schedule.ts';
import type { CertificateStatus } from '../core/status.ts';
import type { Clock } from '../sys/clock.ts';
import type { Logger } from '../sys/log.ts';
import type { LastEvent } from './certificate-status.ts';
import { certificateStatus, isOverdue, isUsable } from './certificate-status.ts';
import type { EnrollerLink } from './enroller-link.ts';
import { findingEvent } from './finding-events.ts';
import type { RequestJournal } from './request-journal.ts';

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
  recordFailure(name: string, code: Failure['code']): void;
}

export interface RotatorOptions {
  readonly spec: CertificateSpec;
  readonly nodeName: string;
  /** The `-current.pem` path, for status and logs. */
  readonly path: string;
  readonly clock: Clock;
  readonly chance: () => number;
  readonly enroller: EnrollerLink;
  readonly logger: Logger;
  readonly observer: RotationObserver;
  readonly journal: RequestJournal;
  readonly identityReady: boolean;
}

/** Report types that concern one certificate. */
export type CertificateReport = Extract<EnrollerReport, { readonly name: string }>;

/**
 * One certificate of the agent: feeds what happens into the state machine and
 * carries out what it answers. Everything here is synchronous; waiting is the
 * keeper's and the enroller's business.
 */
export class Rotator {
  readonly #options: RotatorOptions;
  #state: RotationState;
  #lastEvent: LastEvent | undefined;
  #enrollingSince: Instant | undefined;
  #overdue = false;
  #selfSigning = false;
  #missing: 'waiting_for_addresses' | 'waiting_for_identity' | undefined;

  constructor(options: RotatorOptions) {
    this.#options = options;
    const { clock, identityReady, journal, spec } = options;
    const now = clock.now();
    this.#state = initialState({ now, identityReady, delay: journal.delayFor(spec.name, now) });
  }

  get spec(): CertificateSpec {
    return this.#options.spec;
  }

  get path(): string {
    return this.#options.path;
  }

  /** Readers find a certificate of the cluster that is valid now. */
  get usable(): boolean {
    return isUsable(this.#state, this.#options.clock.now());
  }

  /** The enroller may be writing this pair now: changes on disk are its own. */
  get storing(): boolean {
    const { phase } = this.#state;
    return phase.kind === 'enrolling' && (phase.stage === 'issued' || phase.stage === 'requesting');
  }

  /** When the keeper has to tick again at the latest. */
  get wake(): Instant {
    return nextWake(this.#state, this.#options.clock.now());
  }

  status(): CertificateStatus {
    const { spec, path, clock } = this.#options;
    return certificateStatus({
      spec,
      path,
      state: this.#state,
      now: clock.now(),
      ...(this.#lastEvent !== undefined && { lastEvent: this.#lastEvent }),
    });
  }

  /** Asks for the first look at the directory. */
  start(): void {
    const { enroller, journal, spec, clock } = this.#options;
    const count = journal.outstanding(spec.name, clock.now());
    if (count > 0) this.#log('csr_left_behind', { count });
    enroller.send({ type: 'inspect', name: spec.name });
  }

  tick(): void {
    this.#apply({ type: 'tick' });
    this.#watchOverdue();
  }

  setTemplate(template: CertificateTemplate | undefined): void {
    const known = this.#state.template;
    const same =
      template === undefined || known === undefined
        ? template === known
        : sameTemplate(template, known);
    if (same) return;
    this.#apply({ type: 'template', ...(template !== undefined && { template }) });
  }

  setIdentityReady(ready: boolean): void {
    if (ready === this.#state.identityReady) return;
    this.#apply({ type: 'identity', ready });
  }

  disturbed(): void {
    this.#apply({ type: 'disturbed' });
  }

  credentialChanged(): void {
    this.#apply({ type: 'credential-changed' });
  }

  /** The enroller is gone, and with it every key it held. */
  lost(failure: Failure): void {
    const { phase } = this.#state;
    if (phase.kind === 'inspecting') this.#inspectionFailed(failure);
    else if (phase.kind === 'enrolling') this.#failed(failure, false);
    else if (phase.kind === 'backing-off')
      this.#apply({ type: 'failed', failure, resumable: false });
  }

  report(report: CertificateReport): void {
    switch (report.type) {
      case 'inspected':
        return this.#inspected(report);
      case 'inspection-failed':
        return this.#inspectionFailed(report.failure);
      case 'requested':
      case 'approved':
      case 'issued':
        return this.#progressed(report);
      case 'stored':
        return this.#stored(report);
      case 'failed':
        return this.#failed(report.failure, report.resumable);
      case 'trouble':
        this.#options.observer.recordFailure(this.spec.name, report.failure.code);
        return this.#log('csr_wait_troubled', failureFields(report.failure));
      default:
        return report satisfies never;
    }
  }

  #inspected(report: Extract<CertificateReport, { type: 'inspected' }>): void {
    this.#logFindings(report.findings);
    const known = this.#state.pair;
    const { pair } = report;
    const first = this.#state.phase.kind === 'inspecting' && known === undefined;
    if (!first && known !== undefined && !samePair(known, pair)) {
      this.#log('pair_changed', { path: this.path, ...(pair !== undefined && pairFields(pair)) });
    }
    if (pair === undefined) {
      this.#selfSign();
      return this.#apply({ type: 'inspected' });
    }
    const deadline = this.#deadline(pair);
    if (!samePair(known, pair)) this.#logDeadline(pair, deadline);
    this.#apply({ type: 'inspected', pair, deadline });
  }

  /** A server needs a pair to start at all; the cluster's takes over when it is issued. */
  #selfSign(): void {
    const { spec, enroller } = this.#options;
    if (!spec.selfSignedUntilIssued || this.#selfSigning) return;
    this.#selfSigning = true;
    enroller.send({ type: 'self-sign', name: spec.name });
  }

  #inspectionFailed(failure: Failure): void {
    this.#options.observer.recordFailure(this.spec.name, failure.code);
    this.#apply({ type: 'inspection-failed', failure });
    this.#logFailure(failure);
  }

  #progressed(
    report: Extract<CertificateReport, { type: 'requested' | 'approved' | 'issued' }>,
  ): void {
    const { name, csr } = report;
    const { journal, observer } = this.#options;
    const fields = { csr: csr.name };
    switch (report.type) {
      case 'requested':
        if (journal.add(name, csr)) {
          observer.recordRequested(name);
          this.#log('csr_created', fields);
        }
        return this.#apply({ type: 'progress', stage: 'pending', csr });
      case 'approved':
        this.#log('csr_approved', fields);
        return this.#apply({ type: 'progress', stage: 'approved', csr });
      case 'issued':
        journal.remove(name, csr.name);
        this.#log('csr_issued', fields);
        return this.#apply({ type: 'progress', stage: 'issued', csr });
      default:
        return report satisfies never;
    }
  }

  #stored(report: Extract<CertificateReport, { type: 'stored' }>): void {
    const { clock, observer, spec } = this.#options;
    const { pair } = report;
    const now = clock.now();
    const replaced = this.#state.pair;
    const deadline = this.#deadline(pair);
    const since = this.#enrollingSince ?? now;
    this.#selfSigning = false;
    observer.recordStored({
      name: spec.name,
      seconds: (now - since) / second,
      ...(replaced !== undefined && { ageOfReplaced: (now - replaced.notBefore) / second }),
    });
    this.#enrollingSince = undefined;
    this.#log('certificate_stored', { ...pairFields(pair), seconds: (now - since) / second });
    this.#warnIfShort(pair);
    this.#logFindings(report.findings);
    this.#logDeadline(pair, deadline);
    this.#apply({ type: 'stored', pair, deadline });
    this.#watchOverdue();
  }

  #failed(failure: Failure, resumable: boolean): void {
    const { journal, observer, spec } = this.#options;
    observer.recordFailure(spec.name, failure.code);
    const { phase } = this.#state;
    if (phase.kind === 'enrolling' && phase.csr !== undefined && decided.has(failure.code)) {
      journal.remove(spec.name, phase.csr.name);
    }
    if (!resumable) this.#enrollingSince = undefined;
    this.#apply({ type: 'failed', failure, resumable });
    this.#logFailure(failure);
  }

  #apply(event: RotationEvent): void {
    const { clock, chance } = this.#options;
    const { state, effects } = step(this.#state, event, { now: clock.now(), chance: chance() });
    this.#state = state;
    this.#sayWhatIsMissing();
    for (const effect of effects) this.#perform(effect);
  }

  #perform(effect: RotationEffect): void {
    const { enroller, spec } = this.#options;
    switch (effect.type) {
      case 'inspect':
        return enroller.send({ type: 'inspect', name: spec.name });
      case 'enroll':
        this.#enrollingSince ??= this.#options.clock.now();
        this.#log('rotation_started', { reason: effect.reason });
        return enroller.send({ type: 'enroll', name: spec.name, template: effect.template });
      case 'abandon':
        this.#enrollingSince = undefined;
        return enroller.send({ type: 'abandon', name: spec.name });
      case 'remind-approver':
        return this.#log('csr_pending', {
          csr: effect.csr.name,
          signer: spec.signerName,
          waiting: formatDuration(effect.ms),
          remedy: `kubectl certificate approve ${effect.csr.name}`,
        });
      case 'recovered':
        return this.#log('rotation_recovered', { failures: effect.failures });
      default:
        return effect satisfies never;
    }
  }

  /** Once for each time that something is missing, and not before the directory was looked at. */
  #sayWhatIsMissing(): void {
    const { phase, template, identityReady } = this.#state;
    if (phase.kind === 'inspecting') return;
    const waiting = identityReady ? undefined : ('waiting_for_identity' as const);
    const missing = template === undefined ? ('waiting_for_addresses' as const) : waiting;
    if (missing !== undefined && missing !== this.#missing) this.#log(missing);
    this.#missing = missing;
  }

  #watchOverdue(): void {
    const overdue = isOverdue(this.#state, this.#options.clock.now());
    if (overdue === this.#overdue) return;
    this.#overdue = overdue;
    const { deadline, pair } = this.#state;
    this.#log(overdue ? 'rotation_overdue' : 'rotation_overdue_over', {
      ...(pair !== undefined && pairFields(pair)),
      ...(deadline !== undefined && { deadline: formatInstant(deadline) }),
      ...(overdue && { remedy: 'read the rotation_failed lines and run: nodecertd status' }),
    });
  }

  #deadline(pair: PairFacts): Instant {
    const { nodeName, spec } = this.#options;
    return rotationDeadline(pair, rotationFraction(nodeName, spec.name, pair.serial));
  }

  #logDeadline(pair: PairFacts, deadline: Instant): void {
    if (pair.selfSigned) return;
    const seconds = Math.round((deadline - this.#options.clock.now()) / second);
    this.#log('rotation_deadline', { ...pairFields(pair), deadline: formatInstant(deadline) });
    if (seconds > 0) this.#log('rotation_waiting', { seconds });
  }

  #warnIfShort(pair: PairFacts): void {
    const asked = this.spec.expirationSeconds;
    const issued = Math.round((pair.notAfter - lifetimeStart(pair)) / second);
    // Signers backdate, and take that from the lifetime: a tenth less is no surprise.
    if (asked !== undefined && issued < asked * 0.9) {
      this.#log('certificate_lifetime_short', { asked, issued });
    }
  }

  #logFindings(findings: Extract<CertificateReport, { type: 'inspected' }>['findings']): void {
    for (const { kind, path, detail } of findings) this.#log(findingEvent(kind), { path, detail });
  }

  #logFailure(failure: Failure): void {
    const { phase, failures } = this.#state;
    this.#log('rotation_failed', {
      attempt: failures,
      ...failureFields(failure),
      ...(phase.kind === 'backing-off' && { retryAt: formatInstant(phase.since + phase.delay) }),
    });
  }

  #log(event: LogEvent, fields: LogFields = {}): void {
    const { logger, clock, spec } = this.#options;
    logger.log(event, { certificate: spec.name, ...fields });
    const text = fields['code'] === undefined ? event : `${event} ${String(fields['code'])}`;
    this.#lastEvent = { at: clock.now(), text };
  }
}

/** The request is decided or gone: it no longer stands on the API server. */
const decided = new Set<string>(['CSR_DENIED', 'CSR_FAILED', 'CSR_DELETED']);

function samePair(a: PairFacts | undefined, b: PairFacts | undefined): boolean {
  return a?.path === b?.path && a?.serial === b?.serial && a?.storedAt === b?.storedAt;
}

function pairFields(pair: PairFacts): LogFields {
  return { serial: pair.serial, notAfter: formatInstant(pair.notAfter), path: pair.path };
}

function failureFields({ code, message, remedy }: Failure): LogFields {
  return { code, error: message, ...(remedy !== undefined && { remedy }) };
}
