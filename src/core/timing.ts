import { clamp } from './clamp.ts';
import type { AttemptCode, ErrorCode, Failure } from './errors.ts';
import { day, hour, minute, second } from './instant.ts';
import type { Instant } from './instant.ts';

/**
 * Every delay of the agent in one place: retries, Retry-After, requests after a restart,
 * rollbacks, reminders, checks of the served certificate, and watches. When a certificate
 * is due for rotation is in schedule.ts.
 *
 * Each delay that many nodes may start at the same moment is spread over as much time as it
 * is long, so that N nodes return as N in that time and not as one.
 */

/** Milliseconds before the first retry, and the limit to which they double. */
interface Backoff {
  readonly first: number;
  readonly limit: number;
}

/** No answer, or "not now": retry soon, then less often. */
const transient: Backoff = { first: 2 * second, limit: 5 * minute };
/** A person has to change something. The files involved are watched, so a long delay costs nothing. */
const needsPerson: Backoff = { first: 10 * second, limit: 15 * minute };
/** The certificate is issued and only has to reach the disk, or the programs that use it. */
const local: Backoff = { first: 2 * second, limit: minute };
/** An approver, a signer or a server rejected the certificate; the same request within the hour would fail again. */
const rejected: Backoff = { first: 2 * hour, limit: 12 * hour };
/** The signer issues something else than was requested; each attempt costs a CSR. */
const mismatched: Backoff = { first: 10 * minute, limit: 6 * hour };
/** The API server rejects the new certificate until a person changes one of its flags. */
const untrusted: Backoff = { first: hour, limit: hour };
/** The CSR was deleted while pending, as the upstream cleaner does after a day. */
const deleted: Backoff = { first: minute, limit: hour };
/** A crash loses the key, so each attempt may leave a CSR behind. */
const crashed: Backoff = { first: 5 * second, limit: hour };

/** The type rejects a code that can end an attempt and has no back-off here. */
const attemptBackoffs: Readonly<Record<AttemptCode, Backoff>> = {
  API_UNREACHABLE: transient,
  API_TIMEOUT: transient,
  API_BAD_RESPONSE: transient,
  API_THROTTLED: transient,
  API_SERVER_ERROR: transient,
  PLUGIN_FAILED: transient,
  API_UNAUTHORIZED: needsPerson,
  API_ANONYMOUS: needsPerson,
  API_FORBIDDEN: needsPerson,
  API_NOT_FOUND: needsPerson,
  API_BAD_REQUEST: needsPerson,
  API_UNTRUSTED: needsPerson,
  KUBECONFIG_MISSING: needsPerson,
  KUBECONFIG_INVALID: needsPerson,
  KUBECONFIG_UNSUPPORTED: needsPerson,
  CREDENTIAL_EXPIRED: needsPerson,
  KEY_UNSUPPORTED: needsPerson,
  CSR_DENIED: rejected,
  CSR_FAILED: rejected,
  CSR_DELETED: deleted,
  API_CONFLICT: deleted,
  CERT_MALFORMED: mismatched,
  CERT_KEY_MISMATCH: mismatched,
  CERT_SUBJECT_MISMATCH: mismatched,
  CERT_SAN_MISMATCH: mismatched,
  CERT_USAGE_MISMATCH: mismatched,
  CERT_EXPIRED: mismatched,
  CERT_UNTRUSTED: untrusted,
  CERT_NOT_YET_VALID: local,
  PAIR_MALFORMED: local,
  STORE_LOCKED: needsPerson,
  STORE_PERMISSIONS: local,
  STORE_VOLATILE: needsPerson,
  STORE_FULL: local,
  STORE_IO: local,
  SERVED_STALE: rejected,
  ENROLLER_LOST: crashed,
  ENROLLER_HUNG: crashed,
  INTERNAL: crashed,
};

const backoffs: Readonly<Partial<Record<ErrorCode, Backoff>>> = {
  ...attemptBackoffs,
  HOOK_FAILED: local,
  HOOK_TIMEOUT: local,
};

/** Delays grow within one back-off, and restart with another. */
export function sameKind(a: ErrorCode, b: ErrorCode): boolean {
  return (backoffs[a] ?? transient) === (backoffs[b] ?? transient);
}

/**
 * Milliseconds until the next attempt: doubles from the first delay of the code's back-off
 * to its limit, and is never shorter than Retry-After.
 *
 * @param failures consecutive failures with this back-off, this one included
 * @param random in [0, 1)
 */
export function retryDelay(failure: Failure, failures: number, random: number): number {
  const { first, limit } = backoffs[failure.code] ?? transient;
  const doubled = Math.min(first * 2 ** Math.min(Math.max(failures - 1, 0), 30), limit);
  const spread = Math.round(doubled * (0.5 + random));
  return Math.max(spread, retryAfterDelay(failure.retryAfterMs ?? 0, random));
}

/** The longest delay that `retryDelay` returns for this failure, Retry-After aside. */
export function longestDelay({ code }: Failure): number {
  const { limit } = backoffs[code] ?? transient;
  return Math.round(limit * 1.5);
}

/**
 * The one rule for Retry-After: wait at least that long and at most twice as long,
 * because every client of an overloaded server gets the same value. More than an hour is not obeyed.
 *
 * @param retryAfterMs milliseconds the server asked for; 0 when it did not
 */
export function retryAfterDelay(retryAfterMs: number, random: number): number {
  return Math.round(Math.min(retryAfterMs, hour) * (1 + random));
}

/** The longest delay that Retry-After can cause. */
export const longestRetryAfter = 2 * hour;

/**
 * Milliseconds before a CSR that was deleted while pending is created again. The upstream
 * cleaner deletes all CSRs that are a day old in one sweep, and the nodes of a cluster
 * without an approver must not return in one. A CSR deleted soon after its creation was
 * deleted by someone who wants a new one.
 *
 * @param pendingMs how long the CSR had been pending
 */
export function deletedCsrDelay(pendingMs: number): number {
  return clamp(Math.round(pendingMs / 48), 0, 30 * minute);
}

/**
 * Milliseconds before the next CSR, by the number of earlier ones that led to no
 * certificate, over restarts. One restart costs nothing; an agent in a crash loop creates a
 * handful of CSRs in the first hour and one per hour after that.
 */
export function requestDelay(unfinished: number): number {
  const steps = [0, 0, 10 * second, minute, 5 * minute, 15 * minute];
  return steps[unfinished] ?? hour;
}

/** The upstream cleaner deletes pending and approved CSRs after a day, so older ones do not count. */
export const unfinishedRequestLimit = day;

/** Minimum time between two rotations of one certificate while the pair in use is valid. */
export const minimumRotationInterval = 10 * second;

/** How long a changed template has to last before a request is abandoned for it: addresses often arrive one by one. */
export const templateSettleTime = 15 * second;

/**
 * Client certificates first, serving certificates in the same time after that: nine requests
 * by each of 100,000 nodes, 620 a second where the two overlap. All day they may send 333.
 */
export const serverClockCheckSpread = 20 * minute;

/**
 * Milliseconds from the start of a stage to the next reminder that a CSR is not approved or
 * not issued: after a minute, then each time that the wait has become four times as long.
 *
 * @param reminded milliseconds from the start of the stage to the last reminder
 */
export function reminderInterval(reminded = 0): number {
  return Math.max(minute, 4 * reminded);
}

/** A pair with less time left is no target of a rollback: it would have to be replaced at once, by a certificate that nothing has tried. */
export const minimumTimeLeftForRollback = 5 * minute;

/**
 * Milliseconds from a rollback to the next request: the delay of a rejected certificate, but
 * at most three quarters of the time that the pair has left. The last of several attempts
 * still has a minute and more.
 */
export function delayAfterRollback(delay: number, timeLeft: number): number {
  return Math.max(Math.min(delay, Math.round(timeLeft * 0.75)), 0);
}

/** Milliseconds until a served certificate that was not current is checked again. @param checks checks so far */
export function servedCheckDelay(checks: number, random: number): number {
  const longest = Math.min(30 * second * 2 ** Math.min(checks, 10), 15 * minute);
  return Math.round(longest * (0.5 + random));
}

/** The outcome of one request or one watch while an object is followed. */
export interface WatchStep {
  readonly startedAt: Instant;
  readonly now: Instant;
  /** It returned a later version of the object, or of the collection. */
  readonly progress: boolean;
  /** It failed, or the watch ended before its time: other nodes were probably cut off at the same moment. */
  readonly interrupted: boolean;
  /** Retry-After, in milliseconds. */
  readonly retryAfterMs: number;
}

/**
 * How often the API server is asked about one object. The delays grow with the time that has
 * passed: a CSR that is approved within seconds is noticed within seconds, and a fleet whose
 * CSRs are pending for days does not load the API server, nor returns at once when that
 * restarts.
 */
export class WatchPace {
  readonly #start: Instant;
  readonly #random: () => number;
  #failures = 0;
  /** How long the wait had lasted when contact was last good: an outage must not add its own length. */
  #waited = 0;
  #interrupted = false;

  constructor(start: Instant, random: () => number) {
    this.#start = start;
    this.#random = random;
  }

  /**
   * The timeout of the next watch, as the server would draw it. Other clients use short
   * watches to find out that one is dead; here the poll beside it does that.
   */
  watchSeconds(): number {
    return Math.round((shortestWatch * (1 + this.#random())) / second);
  }

  /** Until the next poll beside the watch. */
  pollDelay(now: Instant): number {
    return clamp(this.#share(now - this.#start), minPoll, maxPoll) * this.#spread();
  }

  /** Until the next watch, or the next read where a watch cannot begin. */
  delayAfter(step: WatchStep): number {
    if (step.progress || step.now - step.startedAt >= healthyWatch) this.#failures = 0;
    if (!step.interrupted || !this.#interrupted) this.#waited = step.now - this.#start;
    this.#interrupted = step.interrupted;
    const first = this.#failures === 0;
    this.#failures += 1;
    return Math.max(this.#delay(step, first), retryAfterDelay(step.retryAfterMs, this.#random()));
  }

  #delay({ interrupted }: WatchStep, first: boolean): number {
    const doubled = Math.min(firstDelay * 2 ** (this.#failures - 1), longestDoubled);
    if (first && !interrupted) return doubled * this.#spread();
    const longest = interrupted ? longestReturn : longestPause;
    const scale = Math.max(doubled, Math.min(this.#share(this.#waited), longest));
    // Some nodes return at once after an interruption, so that some learn of an approval at once.
    return scale * (first ? this.#random() : this.#spread());
  }

  #share(waited: number): number {
    return Math.max(waited, 0) / 2;
  }

  #spread(): number {
    return 0.5 + this.#random();
  }
}

/** A watch that lasted this long was healthy, so the next one follows at once. */
const healthyWatch = 30 * second;
const firstDelay = second / 4;
const longestDoubled = 30 * second;
/**
 * 100,000 nodes that lost their watches together return at 170 a second. A CSR approved just
 * after that is noticed a quarter of an hour late at worst.
 */
const longestReturn = 10 * minute;
/** After an answer without the object. */
const longestPause = 30 * minute;
/** --min-request-timeout of kube-apiserver. */
const shortestWatch = 30 * minute;
const minPoll = 5 * minute;
const maxPoll = hour;
