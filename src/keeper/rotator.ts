import type { PairFacts } from '../core/certificate.ts';
import type { CertificateSpec, CertificateTemplate } from '../core/certificate-spec.ts';
import type { EnrollmentReply, InspectionReply } from '../core/enroller-protocol.ts';
import type { Failure } from '../core/errors.ts';
import { sameTemplate } from '../core/identity.ts';
import { second } from '../core/instant.ts';
import type { Instant } from '../core/instant.ts';
import { isUsable, nextWake, retryAt } from '../core/rotation-due.ts';
import { initialState } from '../core/rotation-state.ts';
import type {
  RotationEffect,
  RotationEvent,
  RotationState,
  Rollback,
} from '../core/rotation-state.ts';
import { replacedPair, step } from '../core/rotation.ts';
import { rotationFraction } from '../core/schedule.ts';
import type { CertificateStatus } from '../core/status.ts';
import { certificateStatus } from './certificate-status.ts';
import type { EnrollerLink, Lost } from './enroller-link.ts';
import type { RotationLog } from './rotation-log.ts';
import { RotationRecord } from './rotation-record.ts';
import type { RotationRecordOptions } from './rotation-record.ts';

/**
 * Reports key pairs to the hooks and the check of the served certificate. The rotation does not
 * wait for them.
 */
export interface PostRotationPort {
  /** This agent has linked the pair; the rotator may report the same pair more than once. */
  stored(name: string, pair: PairFacts): void;
  /** The first inspection of this run has found the pair. */
  found(name: string, pair: PairFacts): void;
  /** The rollback of an earlier run to this pair; undefined if there was none. */
  rollbackTo(name: string, pair: PairFacts): Rollback | undefined;
}

export interface RotatorOptions extends RotationRecordOptions {
  readonly postRotation?: PostRotationPort;
  readonly nodeName: string;
  /** The `-current.pem` path, for status and logs. */
  readonly path: string;
  /** Draws a number in [0, 1). */
  readonly random: () => number;
  readonly enroller: EnrollerLink;
  readonly identityReady: boolean;
}

/**
 * One certificate of the agent: passes events to the state machine and performs its effects. All
 * methods are synchronous; the keeper and the enroller do the waiting.
 */
export class Rotator {
  readonly #options: RotatorOptions;
  #state: RotationState;
  readonly #record: RotationRecord;
  #hasInspected = false;
  #isSelfSigning = false;
  /**
   * Identifies the latest enrollment, because late replies of an abandoned one must not count as
   * progress.
   */
  #attempt: object | undefined;
  /** When the certificate was first requested; a resumed attempt keeps this time. */
  #requestingSince: Instant | undefined;

  constructor(options: RotatorOptions) {
    this.#options = options;
    this.#record = new RotationRecord(options);
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

  /** The pair behind `path`; undefined if there is none. */
  get pair(): PairFacts | undefined {
    return this.#state.pair;
  }

  /** The kubelet rotates the certificate. */
  get observed(): boolean {
    return this.#state.observed;
  }

  /** `-current.pem` holds a certificate of the cluster that is valid now. */
  get usable(): boolean {
    return isUsable(this.#state, this.#options.clock.now());
  }

  /** The enroller may be writing this pair now, so changes on disk are its own. */
  get storing(): boolean {
    const { phase } = this.#state;
    return phase.kind === 'enrolling' && (phase.stage === 'issued' || phase.stage === 'requesting');
  }

  /** No request is in progress, and the kubelet does not rotate the certificate. */
  get isIdle(): boolean {
    const { phase, observed } = this.#state;
    return !observed && (phase.kind === 'idle' || phase.kind === 'inspecting');
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

  /** Requests the first inspection of the directory. */
  start(): void {
    this.#inspect();
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

  /** Files changed on disk. */
  filesChanged(): void {
    this.#apply({ type: 'files-changed' });
  }

  /** An administrator requests a new certificate now, regardless of the existing one. */
  renew(): void {
    this.#apply({ type: 'renew' });
  }

  /** Whether the current pair is due because the signer uses another CA. */
  setBehind(isDue: (pair: PairFacts) => boolean): void {
    const { pair, behind } = this.#state;
    const serial = pair !== undefined && isDue(pair) ? pair.serial : undefined;
    if (serial === behind) return;
    this.#apply({ type: 'behind', ...(serial !== undefined && { serial }) });
  }

  credentialChanged(): void {
    this.#apply({ type: 'credential-changed' });
  }

  /**
   * `-current.pem` links to the previous pair again.
   * @returns when the next certificate may be requested
   */
  rolledBack(rollback: Rollback): Instant | undefined {
    this.#record.failed(rollback.failure);
    this.#applyRollback(rollback);
    const { phase } = this.#state;
    return phase.kind === 'backing-off' ? retryAt(phase) : undefined;
  }

  #inspect(): void {
    const { enroller, spec } = this.#options;
    enroller.request({ type: 'inspect', name: spec.name }, (reply) => this.#inspected(reply));
  }

  /** A server needs a key pair to start; the issued certificate replaces the temporary one. */
  #selfSign(): void {
    const { enroller, spec } = this.#options;
    if (!spec.selfSignedUntilIssued || this.#isSelfSigning) return;
    this.#isSelfSigning = true;
    enroller.request({ type: 'self-sign', name: spec.name }, (reply) => {
      this.#isSelfSigning = false;
      this.#inspected(reply);
    });
  }

  #enroll(template: CertificateTemplate): void {
    const { clock, enroller, spec } = this.#options;
    this.#requestingSince ??= clock.now();
    const attempt = {};
    this.#attempt = attempt;
    enroller.request({ type: 'enroll', name: spec.name, template }, (reply) => {
      if (this.#attempt === attempt) this.#enrolled(reply);
      else this.#lateReply(reply);
    });
  }

  #abandon(): void {
    this.#endAttempt();
    this.#options.enroller.abandon(this.spec.name);
  }

  #endAttempt(): void {
    this.#attempt = undefined;
    this.#requestingSince = undefined;
  }

  #inspected(reply: InspectionReply | Lost): void {
    switch (reply.type) {
      case 'inspected':
        return this.#found(reply);
      case 'inspection-failed':
        return this.#inspectionFailed(reply.failure);
      case 'lost':
        // In any other phase, the enrollment reports the loss.
        return this.#state.phase.kind === 'inspecting'
          ? this.#inspectionFailed(reply.failure)
          : undefined;
      default:
        return reply satisfies never;
    }
  }

  #found(reply: Extract<InspectionReply, { type: 'inspected' }>): void {
    const { pair, csr, observed, findings, isNew = false } = reply;
    const isOurs = this.#record.inspected(csr) || isNew;
    const isFirst = !this.#hasInspected;
    this.#hasInspected = true;
    this.#log.observed(observed);
    this.#log.findings(findings);
    this.#log.found({ path: this.path, known: this.#state.pair, pair, isOurs });
    this.#applyInspection({ pair, observed: observed !== undefined, isFirst });
    if (pair !== undefined) this.#reportPair(pair, { isOurs, isFirst });
    else if (observed === undefined) this.#selfSign();
  }

  #applyInspection({ pair, observed, isFirst }: Inspection): void {
    const { postRotation, spec } = this.#options;
    if (pair === undefined) return this.#apply({ type: 'inspected', observed });
    // The agent does not roll back a pair that the kubelet rotates.
    const rollback = isFirst && !observed ? postRotation?.rollbackTo(spec.name, pair) : undefined;
    if (rollback === undefined) this.#apply({ type: 'inspected', observed, pair });
    else this.#applyRollback(rollback);
  }

  #reportPair(
    pair: PairFacts,
    { isOurs, isFirst }: { readonly isOurs: boolean; readonly isFirst: boolean },
  ): void {
    const { postRotation, spec } = this.#options;
    if (isOurs) postRotation?.stored(spec.name, pair);
    else if (isFirst) postRotation?.found(spec.name, pair);
  }

  #applyRollback(rollback: Rollback): void {
    this.#apply({ type: 'rolled-back', ...rollback });
    this.#log.failed(rollback.failure, this.#state);
  }

  #inspectionFailed(failure: Failure): void {
    this.#record.failed(failure);
    this.#apply({ type: 'inspection-failed', failure });
    this.#log.failed(failure, this.#state);
  }

  #enrolled(reply: EnrollmentReply | Lost): void {
    switch (reply.type) {
      case 'requested':
      case 'approved':
      case 'issued':
        this.#record.progressed(reply);
        return this.#apply({ type: 'progress', stage: stages[reply.type], csr: reply.csr });
      case 'stored':
        return this.#stored(reply);
      case 'failed':
        return this.#failed(reply.failure, reply.resumable);
      case 'lost':
        return this.#enrollmentLost(reply.failure);
      case 'retrying':
        return this.#record.retrying(reply.failure);
      case 'recovered':
        return this.#log.recovered();
      default:
        return reply satisfies never;
    }
  }

  /**
   * Handles a late reply of an abandoned attempt. A CSR that it created counts as unfinished. A
   * pair that it stored is now behind `-current.pem`, so the directory is inspected again.
   */
  #lateReply(reply: EnrollmentReply | Lost): void {
    if (reply.type === 'requested') this.#record.progressed(reply);
    if (reply.type !== 'stored') return;
    this.#log.stored(reply.pair);
    this.#log.findings(reply.findings);
    this.#options.postRotation?.stored(this.spec.name, reply.pair);
    this.#apply({ type: 'files-changed' });
  }

  #stored({ pair, findings }: Extract<EnrollmentReply, { type: 'stored' }>): void {
    const replaced = replacedPair(this.#state, pair);
    const now = this.#options.clock.now();
    const seconds = (now - (this.#requestingSince ?? now)) / second;
    this.#endAttempt();
    this.#record.stored(pair, { seconds, ...(replaced !== undefined && { replaced }) });
    this.#log.findings(findings);
    this.#apply({ type: 'stored', pair });
    this.#log.overdue(this.#state);
    this.#options.postRotation?.stored(this.spec.name, pair);
  }

  #failed(failure: Failure, resumable: boolean): void {
    this.#record.failed(failure);
    if (!resumable) this.#endAttempt();
    this.#apply({ type: 'failed', failure, resumable });
    this.#log.failed(failure, this.#state);
  }

  /**
   * The key of the attempt is lost. A back-off without a key does not change, because a denied
   * request must not be repeated within seconds.
   */
  #enrollmentLost(failure: Failure): void {
    const { phase } = this.#state;
    const hasKey = phase.kind === 'backing-off' && phase.template !== undefined;
    if (phase.kind === 'enrolling' || hasKey) this.#failed(failure, false);
  }

  #apply(event: RotationEvent): void {
    const { clock, random, nodeName, spec } = this.#options;
    const before = this.#state;
    const { state, effects } = step(before, event, {
      now: clock.now(),
      random: random(),
      window: spec.rotationWindow,
      fraction: (serial) => rotationFraction(nodeName, spec.name, serial),
    });
    this.#state = state;
    if (state.deadline !== before.deadline) this.#log.deadline(state);
    this.#log.missing(state);
    for (const effect of effects) this.#perform(effect);
  }

  #perform(effect: RotationEffect): void {
    switch (effect.type) {
      case 'inspect':
        return this.#inspect();
      case 'enroll':
        this.#log.started(effect.reason);
        if (this.#state.pair === undefined) this.#selfSign();
        return this.#enroll(effect.template);
      case 'abandon':
        return this.#abandon();
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
}

interface Inspection {
  readonly pair: PairFacts | undefined;
  readonly observed: boolean;
  readonly isFirst: boolean;
}

/** A CSR that exists is pending until it is approved. */
const stages = { requested: 'pending', approved: 'approved', issued: 'issued' } as const;
