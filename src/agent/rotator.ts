import type { PairFacts } from '../core/certificate.ts';
import type { CertificateSpec } from '../core/certificate-spec.ts';
import { sameTemplate } from '../core/identity.ts';
import type { CertificateTemplate } from '../core/certificate-spec.ts';
import type { EnrollerReport } from '../core/enrollment.ts';
import type { Failure } from '../core/errors.ts';
import { formatDuration, second } from '../core/instant.ts';
import type { Instant } from '../core/instant.ts';
import { nextWake } from '../core/rotation-due.ts';
import { initialState } from '../core/rotation-state.ts';
import type { RotationEffect, RotationEvent, RotationState } from '../core/rotation-state.ts';
import { step } from '../core/rotation.ts';
import { rotationDeadline, rotationFraction } from '../core/schedule.ts';
import type { CertificateStatus } from '../core/status.ts';
import type { Clock } from '../sys/clock.ts';
import type { Logger } from '../sys/log.ts';
import { certificateStatus, isUsable } from './certificate-status.ts';
import type { EnrollerLink } from './enroller-link.ts';
import type { RequestJournal } from './request-journal.ts';
import { RotationLog } from './rotation-log.ts';

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
  readonly #log: RotationLog;
  #enrollingSince: Instant | undefined;
  #selfSigning = false;

  constructor(options: RotatorOptions) {
    this.#options = options;
    this.#log = new RotationLog(options);
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
    const { lastEvent } = this.#log;
    return certificateStatus({
      spec,
      path,
      state: this.#state,
      now: clock.now(),
      ...(lastEvent !== undefined && { lastEvent }),
    });
  }

  /** Asks for the first look at the directory. */
  start(): void {
    const { enroller, journal, spec, clock } = this.#options;
    const count = journal.outstanding(spec.name, clock.now());
    if (count > 0) this.#log.log('csr_left_behind', { count });
    enroller.send({ type: 'inspect', name: spec.name });
  }

  tick(): void {
    this.#apply({ type: 'tick' });
    this.#log.overdue(this.#state);
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

  /**
   * The enroller is gone, and with it every key it held. A back-off for which it held
   * none stays as it is: a denied request must not be made again in seconds.
   */
  lost(failure: Failure): void {
    this.#selfSigning = false;
    const { phase } = this.#state;
    if (phase.kind === 'inspecting') this.#inspectionFailed(failure);
    else if (phase.kind === 'enrolling') this.#failed(failure, false);
    else if (phase.kind === 'backing-off' && phase.template !== undefined) {
      this.#failed(failure, false);
    }
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
        return this.#troubled(report.failure);
      default:
        return report satisfies never;
    }
  }

  #inspected(report: Extract<CertificateReport, { type: 'inspected' }>): void {
    this.#log.findings(report.findings);
    const known = this.#state.pair;
    const { pair } = report;
    if (known !== undefined && !samePair(known, pair)) this.#log.changed(this.path, pair);
    if (pair === undefined) {
      this.#selfSign();
      return this.#apply({ type: 'inspected' });
    }
    this.#selfSigning = false;
    const deadline = this.#deadline(pair);
    if (!samePair(known, pair)) this.#log.deadline(pair, deadline);
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
    this.#selfSigning = false;
    this.#options.observer.recordFailure(this.spec.name, failure.code);
    this.#apply({ type: 'inspection-failed', failure });
    this.#log.failed(failure, this.#state);
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
          this.#log.log('csr_created', fields);
        }
        return this.#apply({ type: 'progress', stage: 'pending', csr });
      case 'approved':
        this.#log.log('csr_approved', fields);
        return this.#apply({ type: 'progress', stage: 'approved', csr });
      case 'issued':
        this.#log.log('csr_issued', fields);
        return this.#apply({ type: 'progress', stage: 'issued', csr });
      default:
        return report satisfies never;
    }
  }

  #stored({ pair, findings }: Extract<CertificateReport, { type: 'stored' }>): void {
    const { clock, journal, observer, spec } = this.#options;
    const now = clock.now();
    journal.clear(spec.name);
    const replaced = this.#state.pair;
    const deadline = this.#deadline(pair);
    const seconds = (now - (this.#enrollingSince ?? now)) / second;
    this.#enrollingSince = undefined;
    observer.recordStored({
      name: spec.name,
      seconds,
      // A stand-in is replaced as soon as can be: its age says nothing about rotations.
      ...(replaced?.selfSigned === false && {
        ageOfReplaced: (now - replaced.notBefore) / second,
      }),
    });
    this.#log.stored(pair, seconds);
    this.#log.findings(findings);
    this.#log.deadline(pair, deadline);
    this.#apply({ type: 'stored', pair, deadline });
    this.#log.overdue(this.#state);
  }

  #failed(failure: Failure, resumable: boolean): void {
    const { observer, spec } = this.#options;
    observer.recordFailure(spec.name, failure.code);
    if (!resumable) this.#enrollingSince = undefined;
    this.#apply({ type: 'failed', failure, resumable });
    this.#log.failed(failure, this.#state);
  }

  #troubled(failure: Failure): void {
    if (this.#log.troubled(failure)) {
      this.#options.observer.recordFailure(this.spec.name, failure.code);
    }
  }

  #apply(event: RotationEvent): void {
    const { clock, chance } = this.#options;
    const { state, effects } = step(this.#state, event, { now: clock.now(), chance: chance() });
    this.#state = state;
    this.#log.missing(state);
    for (const effect of effects) this.#perform(effect);
  }

  #perform(effect: RotationEffect): void {
    const { enroller, spec } = this.#options;
    switch (effect.type) {
      case 'inspect':
        return enroller.send({ type: 'inspect', name: spec.name });
      case 'enroll':
        this.#enrollingSince ??= this.#options.clock.now();
        this.#log.started(effect.reason);
        if (this.#state.pair === undefined) this.#selfSign();
        return enroller.send({ type: 'enroll', name: spec.name, template: effect.template });
      case 'abandon':
        this.#enrollingSince = undefined;
        return enroller.send({ type: 'abandon', name: spec.name });
      case 'remind-approver':
        return this.#log.log('csr_pending', {
          csr: effect.csr.name,
          signer: spec.signerName,
          waiting: formatDuration(effect.ms),
          remedy: `kubectl certificate approve ${effect.csr.name}`,
        });
      case 'remind-signer':
        return this.#log.log('csr_unissued', {
          csr: effect.csr.name,
          signer: spec.signerName,
          waiting: formatDuration(effect.ms),
          remedy: `see that a controller signs for ${spec.signerName}: kubectl describe csr ${effect.csr.name}`,
        });
      case 'recovered':
        return this.#log.log('rotation_recovered', { failures: effect.failures });
      default:
        return effect satisfies never;
    }
  }

  #deadline(pair: PairFacts): Instant {
    const { nodeName, spec } = this.#options;
    return rotationDeadline(pair, rotationFraction(nodeName, spec.name, pair.serial));
  }
}

function samePair(a: PairFacts | undefined, b: PairFacts | undefined): boolean {
  return a?.path === b?.path && a?.serial === b?.serial && a?.storedAt === b?.storedAt;
}
