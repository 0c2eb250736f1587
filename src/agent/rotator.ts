import { basename } from 'node:path';
import type { PairFacts } from '../core/certificate.ts';
import type { CertificateSpec } from '../core/certificate-spec.ts';
import { sameTemplate } from '../core/identity.ts';
import type { CertificateTemplate } from '../core/certificate-spec.ts';
import type { CsrReference } from '../core/enrollment.ts';
import type { Failure } from '../core/errors.ts';
import { second } from '../core/instant.ts';
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
import { EnrollerErrands } from './enroller-errands.ts';
import type { CertificateReport } from './enroller-errands.ts';
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

/**
 * One certificate of the agent: feeds what happens into the state machine and
 * carries out what it answers. Everything here is synchronous; waiting is the
 * keeper's and the enroller's business.
 */
export class Rotator {
  readonly #options: RotatorOptions;
  #state: RotationState;
  readonly #log: RotationLog;
  readonly #errands: EnrollerErrands;
  /** Stored by an attempt that was given up: a look that finds it found nobody else's. */
  #straggler: PairFacts | undefined;

  constructor(options: RotatorOptions) {
    this.#options = options;
    this.#log = new RotationLog(options);
    this.#errands = new EnrollerErrands(options);
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
    const { journal, spec, clock } = this.#options;
    const count = journal.outstanding(spec.name, clock.now());
    if (count > 0) this.#log.log('csr_left_behind', { count });
    this.#errands.inspect();
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
    this.#errands.selfSigned();
    const { phase } = this.#state;
    if (phase.kind === 'inspecting') this.#inspectionFailed(failure);
    else if (phase.kind === 'enrolling') this.#failed(failure, false);
    else if (phase.kind === 'backing-off' && phase.template !== undefined) {
      this.#failed(failure, false);
    }
  }

  report(report: CertificateReport): void {
    if (!this.#errands.counts(report)) return this.#straggled(report);
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

  /**
   * From an attempt that was given up. What it did to the world remains: a request on
   * the API server is one more that may come to nothing, and a stored pair is what
   * readers find, so the directory is looked at again.
   */
  #straggled(report: CertificateReport): void {
    if (report.type === 'requested') this.#count(report.csr);
    if (report.type !== 'stored') return;
    this.#straggler = report.pair;
    this.#log.stored(report.pair);
    this.#log.findings(report.findings);
    this.#apply({ type: 'disturbed' });
  }

  #inspected(report: Extract<CertificateReport, { type: 'inspected' }>): void {
    this.#log.findings(report.findings);
    const known = this.#state.pair;
    const { pair } = report;
    if (known !== undefined && !samePair(known, pair) && !this.#isOurs(pair)) {
      this.#log.changed(this.path, pair);
    }
    if (pair === undefined) {
      this.#errands.selfSign();
      return this.#apply({ type: 'inspected' });
    }
    this.#errands.selfSigned();
    const deadline = this.#deadline(pair);
    if (!samePair(known, pair)) this.#log.deadline(pair, deadline);
    this.#apply({ type: 'inspected', pair, deadline });
  }

  #isOurs(pair: PairFacts | undefined): boolean {
    return pair !== undefined && samePair(pair, this.#straggler);
  }

  #inspectionFailed(failure: Failure): void {
    this.#errands.selfSigned();
    this.#options.observer.recordFailure(this.spec.name, failure.code);
    this.#apply({ type: 'inspection-failed', failure });
    this.#log.failed(failure, this.#state);
  }

  #progressed(
    report: Extract<CertificateReport, { type: 'requested' | 'approved' | 'issued' }>,
  ): void {
    const { csr } = report;
    const fields = { csr: csr.name };
    switch (report.type) {
      case 'requested':
        this.#count(csr);
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

  /** Once for each request: the enroller repeats itself when it carries on. */
  #count(csr: CsrReference): void {
    const { journal, observer, spec } = this.#options;
    if (!journal.add(spec.name, csr)) return;
    observer.recordRequested(spec.name);
    this.#log.log('csr_created', { csr: csr.name });
  }

  #stored({ pair, findings }: Extract<CertificateReport, { type: 'stored' }>): void {
    const { clock, journal, observer, spec } = this.#options;
    const now = clock.now();
    journal.clear(spec.name);
    const replaced = this.#state.pair;
    const deadline = this.#deadline(pair);
    const { seconds } = this.#errands;
    this.#errands.ended({ resumable: false });
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
    this.#errands.ended({ resumable });
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
    switch (effect.type) {
      case 'inspect':
        return this.#errands.inspect();
      case 'enroll':
        this.#log.started(effect.reason);
        if (this.#state.pair === undefined) this.#errands.selfSign();
        return this.#errands.enroll(effect.template);
      case 'abandon':
        return this.#errands.abandon();
      case 'remind-approver':
      case 'remind-signer':
        return this.#log.remind(effect);
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

/** By the name of the file: its directory may be reached through a link, or not. */
function samePair(a: PairFacts | undefined, b: PairFacts | undefined): boolean {
  const names = [a, b].map((pair) => pair && basename(pair.path));
  return names[0] === names[1] && a?.serial === b?.serial && a?.storedAt === b?.storedAt;
}
