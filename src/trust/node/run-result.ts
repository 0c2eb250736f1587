import type { Failure } from '../../core/errors.ts';
import { AgentError, hasCode, toFailure } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { second } from '../../core/instant.ts';
import type {
  RefusedTrust,
  TrustFinding,
  TrustOutcome,
  TrustReport,
} from '../../core/trust-report.ts';

/** What a run has found and done so far. The steps of the run add to it. */
export class RunResult {
  readonly findings: TrustFinding[] = [];
  /** A file was changed, or the kubelet was restarted. */
  isChanged = false;
  refusal: RefusedTrust | undefined;
  /** When the next run is due. */
  until: Instant = Infinity;
  #failure: Failure | undefined;
  #isFailed = false;

  get isFailed(): boolean {
    return this.#isFailed;
  }

  fail(failure: Failure): void {
    this.#isFailed = true;
    this.#failure = failure;
  }

  /** The first reason counts, because the others may follow from it. */
  wait(failure: Failure, until: Instant = Infinity): void {
    this.#failure ??= failure;
    this.until = Math.min(this.until, until);
  }

  /** For the report. */
  end(now: Instant): Pick<TrustReport, 'outcome' | 'refusal' | 'failure' | 'retryAfterSeconds'> {
    const left = Math.max(this.until - now, second);
    return {
      outcome: this.#outcome(),
      ...(this.refusal && { refusal: this.refusal }),
      ...(this.#failure && { failure: this.#failure }),
      ...(left < Infinity && { retryAfterSeconds: Math.ceil(left / second) }),
    };
  }

  #outcome(): TrustOutcome {
    if (this.refusal !== undefined) return 'refused';
    if (this.#isFailed) return 'failed';
    if (this.isChanged) return 'changed';
    return this.#failure === undefined ? 'in-sync' : 'waiting';
  }
}

/** @throws AgentError ABORTED, and errors that are bugs */
export function failureOf(error: unknown): Failure {
  if (!(error instanceof AgentError) || hasCode(error, 'ABORTED')) throw error;
  return toFailure(error);
}
