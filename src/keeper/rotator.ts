import type { PairFacts } from '../core/certificate.ts';
import type { CertificateSpec, CertificateTemplate } from '../core/certificate-spec.ts';
import type { Failure } from '../core/errors.ts';
import { sameTemplate } from '../core/identity.ts';
import type { Instant } from '../core/instant.ts';
import { nextWake, retryAt } from '../core/rotation-due.ts';
import { initialState } from '../core/rotation-state.ts';
import type { RotationEffect, RotationEvent, RotationState } from '../core/rotation-state.ts';
import { deadlineAfterLook, step } from '../core/rotation.ts';
import {
  observedDeadline,
  rotationDeadline,
  rotationFraction,
  storedMoment,
} from '../core/schedule.ts';
import type { CertificateStatus } from '../core/status.ts';
import { certificateStatus, isUsable } from './certificate-status.ts';
import { EnrollerErrands } from './enroller-errands.ts';
import type { CertificateReport, ProgressReport } from './enroller-errands.ts';
import type { EnrollerLink } from './enroller-link.ts';
import type { RollBackStep } from './hook-runner.ts';
import type { RotationLog } from './rotation-log.ts';
import { RotationRecord } from './rotation-record.ts';
import type { RotationRecordOptions } from './rotation-record.ts';

/** Who is told of pairs that the agent has put in place. None of it is waited for. */
export interface Aftermath {
  /** This agent has put it in place; the same one may be told of more than once. */
  stored(name: string, pair: PairFacts): void;
  /** The first look of this run has found it. */
  found(name: string, pair: PairFacts): void;
  /** Whether an earlier run has gone back to this pair. */
  wentBack(name: string, pair: PairFacts): WentBackTo | undefined;
}

interface WentBackTo {
  readonly failure: Failure;
  readonly count: number;
  /** No other pair is asked for before this moment. */
  readonly until: Instant;
}

export interface RotatorOptions extends RotationRecordOptions {
  readonly after?: Aftermath;
  readonly nodeName: string;
  /** The `-current.pem` path, for status and logs. */
  readonly path: string;
  readonly chance: () => number;
  readonly enroller: EnrollerLink;
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
  readonly #record: RotationRecord;
  readonly #errands: EnrollerErrands;
  /** The directory has been looked at. */
  #looked = false;

  constructor(options: RotatorOptions) {
    this.#options = options;
    this.#record = new RotationRecord(options);
    this.#errands = new EnrollerErrands(options);
    const { clock, identityReady } = options;
    this.#state = initialState({
      now: clock.now(),
      identityReady,
      delay: this.#record.delay,
    });
  }

  get spec(): CertificateSpec {
    return this.#options.spec;
  }

  get path(): string {
    return this.#options.path;
  }

  /** Somebody else rotates it. */
  get observed(): boolean {
    return this.#state.observed;
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

  /** Nothing is under way, or held, that brings another pair, and nobody else rotates it. */
  get atRest(): boolean {
    const { phase, observed } = this.#state;
    return !observed && (phase.kind === 'resting' || phase.kind === 'inspecting');
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

  /** A person wants a new pair now, whatever the old one is like. */
  renew(): void {
    this.#apply({ type: 'renew' });
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

  /** Readers find an earlier pair again. @returns when the next one may be asked for */
  rolledBack({ pair, findings, failure, count }: RollBackStep): Instant | undefined {
    this.#record.failed(failure);
    this.#log.findings(findings);
    this.#wentBack(pair, { failure, count });
    const { phase } = this.#state;
    return phase.kind === 'backing-off' ? retryAt(phase) : undefined;
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
        return this.#record.troubled(report.failure);
      case 'calm':
        return this.#log.resumed();
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
    if (report.type === 'requested') this.#record.progressed(report);
    if (report.type !== 'stored') return;
    this.#log.stored(report.pair);
    this.#log.findings(report.findings);
    this.#options.after?.stored(this.spec.name, report.pair);
    this.#apply({ type: 'disturbed' });
  }

  #inspected(report: Extract<CertificateReport, { type: 'inspected' }>): void {
    const { pair, csr, observed, findings, isNew = false } = report;
    const isOurs = this.#record.inspected(csr) || isNew;
    const isFirst = !this.#looked;
    this.#looked = true;
    this.#log.observed(observed);
    this.#log.findings(findings);
    const known = this.#state.pair;
    const deadline =
      pair === undefined
        ? undefined
        : deadlineAfterLook(this.#state, pair, this.#dueAt(pair, observed !== undefined));
    const news = deadline !== this.#state.deadline;
    this.#log.found({ path: this.path, known, pair, ...(news && { deadline }) });
    const event = { type: 'inspected', observed: observed !== undefined } as const;
    if (pair === undefined || deadline === undefined) {
      if (!event.observed) this.#errands.selfSign();
      return this.#apply(event);
    }
    this.#errands.selfSigned();
    this.#found({ ...event, pair, deadline }, { isOurs, isFirst });
  }

  #found(
    event: Required<Extract<RotationEvent, { type: 'inspected' }>>,
    { isOurs, isFirst }: { readonly isOurs: boolean; readonly isFirst: boolean },
  ): void {
    const { after, spec } = this.#options;
    const { pair, observed } = event;
    // What the kubelet rotates is its own affair from then on.
    const step = isFirst && !observed ? after?.wentBack(spec.name, pair) : undefined;
    if (step === undefined) this.#apply(event);
    else this.#wentBack(pair, step);
    if (isOurs) after?.stored(spec.name, pair);
    else if (isFirst) after?.found(spec.name, pair);
  }

  #wentBack(pair: PairFacts, step: Omit<WentBackTo, 'until'> & Partial<WentBackTo>): void {
    const { failure, count, until } = step;
    const deadline = this.#deadline(pair);
    this.#apply({
      type: 'rolled-back',
      pair,
      deadline,
      failure,
      count,
      ...(until !== undefined && { until }),
    });
    this.#log.failed(failure, this.#state);
  }

  #inspectionFailed(failure: Failure): void {
    this.#errands.selfSigned();
    this.#record.failed(failure);
    this.#apply({ type: 'inspection-failed', failure });
    this.#log.failed(failure, this.#state);
  }

  #progressed(report: ProgressReport): void {
    this.#record.progressed(report);
    this.#apply({ type: 'progress', stage: stages[report.type], csr: report.csr });
  }

  #stored({ pair, findings }: Extract<CertificateReport, { type: 'stored' }>): void {
    const { pair: replaced } = this.#state;
    const storedAt = storedMoment(pair.storedAt, this.#options.clock.now());
    const deadline = this.#deadline({ ...pair, storedAt }, replaced);
    const { seconds } = this.#errands;
    this.#errands.ended({ resumable: false });
    this.#record.stored(pair, { seconds, ...(replaced !== undefined && { replaced }) });
    this.#log.findings(findings);
    this.#log.deadline(pair, deadline);
    this.#apply({ type: 'stored', pair, deadline });
    this.#log.overdue(this.#state);
    this.#options.after?.stored(this.spec.name, pair);
  }

  #failed(failure: Failure, resumable: boolean): void {
    this.#record.failed(failure);
    this.#errands.ended({ resumable });
    this.#apply({ type: 'failed', failure, resumable });
    this.#log.failed(failure, this.#state);
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

  get #log(): RotationLog {
    return this.#record.log;
  }

  #dueAt(pair: PairFacts, observed: boolean): Instant {
    return observed ? observedDeadline(pair) : this.#deadline(pair);
  }

  #deadline(pair: PairFacts, replaced?: PairFacts): Instant {
    const { nodeName, spec } = this.#options;
    const fraction = rotationFraction(nodeName, spec.name, pair.serial);
    return rotationDeadline(pair, fraction, { replaced, now: this.#options.clock.now() });
  }
}

/** A request that stands is pending, whatever else is true of it. */
const stages = { requested: 'pending', approved: 'approved', issued: 'issued' } as const;
