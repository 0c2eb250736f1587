import type { Failure } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { formatInstant } from '../core/instant.ts';
import { failureFields } from '../core/log-events.ts';
import type { TrustStatus } from '../core/status.ts';
import { isStep } from '../core/trust-remarks.ts';
import type { TrustFinding, TrustReport } from '../core/trust-report.ts';
import type { TrustRefusal } from '../core/trust.ts';
import { without } from '../core/without.ts';
import type { Logger } from '../sys/log.ts';
import type { TrustSync } from './trust-sync.ts';

export interface TrustObserver {
  recordTrustRefusal(reason: TrustRefusal): void;
}

export interface TrustRecordOptions {
  readonly now: () => Instant;
  readonly logger: Logger;
  readonly observer: TrustObserver;
}

/** Logs and counts the results of `trust sync`, and keeps the last ones for the status. */
export class TrustRecord {
  readonly #options: TrustRecordOptions;
  #status: Omit<TrustStatus, 'reissues'>;
  /** Why the last run was waiting, refused or failed. */
  #reason: string | undefined;

  constructor(options: TrustRecordOptions) {
    this.#options = options;
    this.#status = { state: 'starting', since: options.now() };
  }

  get status(): Omit<TrustStatus, 'reissues'> {
    return this.#status;
  }

  checking(): void {
    this.#status = without(this.#status, 'nextCheck');
  }

  waiting(nextCheck: Instant): void {
    this.#status = { ...this.#status, nextCheck };
  }

  ended(sync: TrustSync): void {
    if (sync.kind === 'complete') return this.#completed(sync.report);
    const message = `nodecertd trust sync --unattended ${sync.reason}`;
    const failure: Failure = { code: 'INTERNAL', message, remedy };
    const isNew = this.#enter('failed', message);
    this.#fail(isNew ? 'trust_failed' : undefined, failure);
  }

  #completed(report: TrustReport): void {
    const { outcome, refusal, failure } = report;
    this.#logChange(this.#status.report, report);
    this.#status = { ...this.#status, report };
    const reason = refusal?.message ?? failure?.message ?? '';
    const isNew = this.#enter(outcome, reason);
    switch (outcome) {
      case 'in-sync':
      case 'changed':
        return this.#recover();
      case 'waiting':
        this.#status = { ...this.#status, waitsFor: reason };
        if (isNew) this.#options.logger.log('trust_waiting', { reason });
        return;
      case 'refused':
        return this.#refuse(report, isNew);
      case 'failed':
        return this.#fail(isNew ? 'trust_failed' : undefined, failure ?? unexplained);
      default:
        outcome satisfies never;
    }
  }

  /** Logs the new stage, the write, and the findings that the previous run did not have. */
  #logChange(previous: TrustReport | undefined, report: TrustReport): void {
    const { logger } = this.#options;
    const { stage, changedAt, findings } = report;
    if (changedAt !== undefined && isWritten(previous, report)) {
      logger.log('trust_changed', { cas: heldBy(report), at: formatInstant(changedAt) });
    }
    if (previous === undefined ? stage !== 'single' : stage !== previous.stage) {
      logger.log('trust_stage', { from: previous?.stage, to: stage });
    }
    const known = new Set(previous?.findings.map(textOf));
    const problems = findings.filter((finding) => !isStep(finding, report.reader));
    for (const finding of problems.filter((one) => !known.has(textOf(one)))) {
      const { id, message, remedy: advice } = finding;
      logger.log('trust_finding', { id, finding: message, remedy: advice });
    }
  }

  /** @returns false for the same state and reason as after the previous run */
  #enter(state: TrustStatus['state'], reason: string): boolean {
    const isNew = state !== this.#status.state || reason !== this.#reason;
    this.#reason = reason;
    const since = isNew ? this.#options.now() : this.#status.since;
    this.#status = { ...without(this.#status, 'waitsFor'), state, since };
    return isNew;
  }

  /** Counts each run, so that `increase()` shows a refusal that lasts. */
  #refuse({ refusal }: TrustReport, isNew: boolean): void {
    if (refusal === undefined) return this.#fail(isNew ? 'trust_failed' : undefined, unexplained);
    this.#options.observer.recordTrustRefusal(refusal.reason);
    this.#fail(isNew ? 'trust_refused' : undefined, refusal);
  }

  /** @param event absent if the same failure was logged before */
  #fail(event: 'trust_failed' | 'trust_refused' | undefined, failure: Failure): void {
    const { logger, now } = this.#options;
    if (event !== undefined) logger.log(event, { ...failureFields(failure) });
    this.#status = { ...this.#status, failure: { ...failure, at: now() } };
  }

  #recover(): void {
    if (this.#status.failure === undefined) return;
    this.#options.logger.log('trust_recovered');
    this.#status = without(this.#status, 'failure');
  }
}

/** The fingerprints of the CAs that all kept places have. */
export function heldBy({ authorities }: TrustReport): readonly string[] {
  return authorities.filter(({ isHeld }) => isHeld).map(({ fingerprint }) => fingerprint);
}

/** A run can also be `changed` because it restarted the kubelet. */
function isWritten(
  previous: TrustReport | undefined,
  { changedAt, outcome }: TrustReport,
): boolean {
  return previous === undefined ? outcome === 'changed' : changedAt !== previous.changedAt;
}

function textOf({ id, message }: TrustFinding): string {
  return `${id}: ${message}`;
}

const remedy = 'Run nodecertd trust sync as root, and correct the error that it reports';

const unexplained: Failure = {
  code: 'INTERNAL',
  message: 'nodecertd trust sync --unattended gave no reason',
  remedy,
};
