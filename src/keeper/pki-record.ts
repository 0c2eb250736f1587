import type { Failure } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import type { LogFields } from '../core/log-events.ts';
import { failureFields } from '../core/log-events.ts';
import type { PkiStatus } from '../core/status.ts';
import { without } from '../core/without.ts';
import type { Logger } from '../sys/log.ts';
import type { PkiRenewal, RenewalResult } from './pki-renewal.ts';

export interface PkiObserver {
  recordPkiRenewal(result: 'succeeded' | 'failed'): void;
}

export interface PkiRecordOptions {
  readonly directory: string;
  readonly now: () => Instant;
  readonly logger: Logger;
  readonly observer: PkiObserver;
}

/** Logs and counts the results of the unattended renewal, and keeps the last ones for the status. */
export class PkiRecord {
  readonly #options: PkiRecordOptions;
  #status: PkiStatus;
  /** Why the last check was waiting, refused or failed. */
  #reason: string | undefined;

  constructor(options: PkiRecordOptions) {
    const { directory, now } = options;
    this.#options = options;
    this.#status = { directory, state: 'starting', since: now(), problems: [] };
  }

  get status(): PkiStatus {
    return this.#status;
  }

  checking(): void {
    this.#status = without(this.#status, 'nextCheck');
  }

  waiting(nextCheck: Instant): void {
    this.#status = { ...this.#status, nextCheck };
  }

  /** @param renewed what was renewed after the last document */
  ended(renewal: PkiRenewal, renewed: RenewalResult['lastRenewals']): void {
    if (renewal.kind === 'complete') return this.#completed(renewal.result, renewed);
    const reason = `nodecertd certs renew --unattended ${renewal.reason}`;
    const failure: Failure = { code: 'INTERNAL', message: reason, remedy };
    this.#enter('failed', reason);
    this.#fail('pki_failed', failure);
  }

  #completed(result: RenewalResult, renewed: RenewalResult['lastRenewals']): void {
    const { outcome, reason = '', code = 'INTERNAL', problems, nextDue, lastSuccess } = result;
    this.#logProblems(problems);
    const isNew = this.#enter(outcome, reason);
    this.#status = {
      ...without(without(this.#status, 'nextDue'), 'lastSuccess'),
      problems,
      ...(nextDue !== undefined && { nextDue }),
      ...(lastSuccess !== undefined && { lastSuccess }),
    };
    const failure: Failure = {
      code,
      message: reason,
      ...(result.remedy !== undefined && { remedy: result.remedy }),
    };
    const names = renewed.map(({ name }) => name);
    if (names.length > 0 && outcome !== 'failed') this.#renewed(result, names);
    switch (outcome) {
      case 'renewed':
      case 'not-due':
        return this.#recover();
      case 'waiting':
        this.#status = { ...this.#status, waitsFor: reason };
        if (isNew) this.#options.logger.log('pki_waiting', { reason });
        return;
      case 'refused':
        return this.#fail(isNew ? 'pki_refused' : undefined, failure);
      case 'failed':
        return this.#fail(
          'pki_failed',
          failure,
          names.length > 0 ? completedFields(result, names) : {},
        );
      default:
        outcome satisfies never;
    }
  }

  /** @returns false for the same state and reason as at the previous check */
  #enter(state: PkiStatus['state'], reason: string): boolean {
    const isNew = state !== this.#status.state || reason !== this.#reason;
    this.#reason = reason;
    const since = isNew ? this.#options.now() : this.#status.since;
    this.#status = { ...without(this.#status, 'waitsFor'), state, since };
    return isNew;
  }

  #renewed(result: RenewalResult, names: readonly string[]): void {
    const { withoutLease: reason } = result;
    const { logger, observer, now } = this.#options;
    observer.recordPkiRenewal('succeeded');
    logger.log('pki_renewed', completedFields(result, names));
    if (reason === undefined) return;
    this.#status = { ...this.#status, lastWithoutLease: { reason, at: now() } };
    logger.log('pki_renewed_without_lease', { reason });
  }

  /** @param event absent if the same failure was logged before */
  #fail(
    event: 'pki_failed' | 'pki_refused' | undefined,
    failure: Failure,
    completed: LogFields = {},
  ): void {
    const { logger, observer, now } = this.#options;
    if (event === 'pki_failed') observer.recordPkiRenewal('failed');
    if (event !== undefined) logger.log(event, { ...failureFields(failure), ...completed });
    this.#status = { ...this.#status, failure: { ...failure, at: now() } };
  }

  #recover(): void {
    if (this.#status.failure === undefined) return;
    this.#options.logger.log('pki_recovered');
    this.#status = without(this.#status, 'failure');
  }

  /** Logs the problems that the previous check did not have. */
  #logProblems(problems: RenewalResult['problems']): void {
    const known = new Set(this.#status.problems.map(({ name, reason }) => `${name}: ${reason}`));
    for (const { name, code, reason, remedy } of problems) {
      if (known.has(`${name}: ${reason}`)) continue;
      this.#options.logger.log('pki_problem', {
        certificate: name,
        code,
        error: reason,
        remedy,
      });
    }
  }
}

function completedFields({ restarted }: RenewalResult, names: readonly string[]): LogFields {
  return {
    certificates: names,
    restarted: restarted.map(({ component }) => component),
  };
}

const remedy =
  'Run nodecertd certs renew --unattended as root, and correct the error that it reports';
