import { clamp } from './clamp.ts';
import type { AttemptCode, ErrorCode, Failure } from './errors.ts';
import { day, hour, minute, second } from './instant.ts';
import type { Instant } from './instant.ts';

/**
 * Every delay of the agent in one place: retries, Retry-After, requests after a restart,
 * rollbacks, reminders, checks of the served certificate, and watches. schedule.ts has the
 * rotation deadlines.
 *
 * Many nodes may start the same delay at the same moment. A random factor spreads the end of the
 * delay over a period as long as the delay itself, so the nodes do not return all at once.
 */

/** Milliseconds before the first retry, and the limit to which they double. */
interface Backoff {
  readonly first: number;
  readonly limit: number;
}

/** No response, or a temporary rejection: retry soon, then less often. */
const transient: Backoff = { first: 2 * second, limit: 5 * minute };
/**
 * An administrator has to fix something. The agent watches the files involved, so a long delay
 * costs nothing.
 */
const needsPerson: Backoff = { first: 10 * second, limit: 15 * minute };
/** The certificate is issued. Only the write to disk or a hook failed. */
const local: Backoff = { first: 2 * second, limit: minute };
/** An approver, a signer or a server rejected the certificate; the same request within the hour would fail again. */
const rejected: Backoff = { first: 2 * hour, limit: 12 * hour };
/**
 * The signer issues a certificate that differs from the request, and each attempt creates a CSR.
 */
const mismatched: Backoff = { first: 10 * minute, limit: 6 * hour };
/**
 * The API server rejects the new certificate until an administrator changes a flag of the API
 * server.
 */
const untrusted: Backoff = { first: hour, limit: hour };
/**
 * The CSR was deleted while pending, for example by the CSR cleaner of kube-controller-manager
 * after a day.
 */
const deleted: Backoff = { first: minute, limit: hour };
/** A crash loses the key, so each attempt may leave a CSR behind. */
const crashed: Backoff = { first: 5 * second, limit: hour };

/** The type requires a back-off for every code that can end an attempt. */
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
  CLUSTER_UNTRUSTED: needsPerson,
  TOKEN_REJECTED: needsPerson,
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

/**
 * True if both codes have the same back-off. Delays grow within one back-off, and restart with
 * another.
 */
export function sameBackoff(a: ErrorCode, b: ErrorCode): boolean {
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
  const delay = growingDelay(backoffs[failure.code] ?? transient, failures, random);
  return Math.max(delay, retryAfterDelay(failure.retryAfterMs ?? 0, random));
}

/**
 * Milliseconds until the next unattended renewal after one that ended without a result, for example
 * because it was killed. Its hooks wait for the next result, and its Lease expires in a minute.
 */
export function renewalRetryDelay(failures: number, random: number): number {
  return growingDelay({ first: minute, limit: hour }, failures, random);
}

/** Milliseconds until the next `trust sync`: ten minutes, plus or minus half. */
export function trustSyncInterval(random: number): number {
  return Math.round(10 * minute * (0.5 + random));
}

/**
 * How often a node that trusts several CAs searches for the CA that a signer uses, and reads its
 * own Node. With these intervals, 100,000 nodes that request certificates from a new CA send fewer
 * than 660 requests per second.
 */
export const signerSearchInterval = 30 * minute;
export const ownNodeInterval = hour;

/** Milliseconds until the next `trust sync` after one that ended without a result. */
export function trustSyncRetryDelay(failures: number, random: number): number {
  return growingDelay({ first: minute, limit: 10 * minute }, failures, random);
}

function growingDelay({ first, limit }: Backoff, failures: number, random: number): number {
  const doubled = Math.min(first * 2 ** Math.min(Math.max(failures - 1, 0), 30), limit);
  return Math.round(doubled * (0.5 + random));
}

/** The longest delay that `retryDelay` returns for this failure without Retry-After. */
export function longestDelay({ code }: Failure): number {
  const { limit } = backoffs[code] ?? transient;
  return Math.round(limit * 1.5);
}

/**
 * The milliseconds that a server asks for: Retry-After in both forms of RFC 9110 10.2.3, or
 * `retryAfterSeconds` of a Status. At most an hour: one header must not silence the agent for
 * longer.
 */
export function parseRetryAfter(
  value: string | number | undefined,
  now: Instant,
): number | undefined {
  if (value === undefined) return undefined;
  const isSeconds = typeof value === 'number' || /^\s*\d+\s*$/.test(value);
  const ms = isSeconds ? Number(value) * second : Date.parse(value) - now;
  return Number.isNaN(ms) ? undefined : clamp(ms, 0, hour);
}

/**
 * The delay for a Retry-After header: at least its value and at most twice its value, because an
 * overloaded server sends every client the same value. A value above an hour counts as an hour.
 *
 * @param retryAfterMs the value in milliseconds; 0 without the header
 */
export function retryAfterDelay(retryAfterMs: number, random: number): number {
  return Math.round(Math.min(retryAfterMs, hour) * (1 + random));
}

/** The longest delay that Retry-After can cause. */
export const longestRetryAfter = 2 * hour;

/**
 * Milliseconds before the agent recreates a CSR that was deleted while pending.
 * kube-controller-manager deletes all day-old CSRs in one sweep, and in a cluster without an
 * approver, the nodes must not recreate their CSRs all at once. If a CSR is deleted soon after
 * its creation, an administrator probably wants a new one, so the delay is short.
 *
 * @param pendingMs how long the CSR had been pending
 */
export function deletedCsrDelay(pendingMs: number): number {
  return clamp(Math.round(pendingMs / 48), 0, 30 * minute);
}

/**
 * Milliseconds before the next CSR, by the number of unfinished CSRs of this and earlier runs.
 * One restart causes no delay; an agent in a crash loop creates a handful of CSRs in the first
 * hour and one per hour after that.
 */
export function requestDelay(unfinished: number): number {
  const steps = [0, 0, 10 * second, minute, 5 * minute, 15 * minute];
  return steps[unfinished] ?? hour;
}

/** kube-controller-manager deletes pending CSRs after a day, so older ones do not count. */
export const unfinishedRequestLimit = day;

/** Minimum time between two rotations of one certificate while the pair in use is valid. */
export const minimumRotationInterval = 10 * second;

/**
 * A changed template must last this long before the agent abandons the current request, because
 * addresses often arrive one by one.
 */
export const templateChangeDelay = 15 * second;

/**
 * A clock error may affect all nodes, so their checks of the server clock are spread over this
 * interval: first for client certificates, then for serving certificates. 100,000 nodes with nine
 * requests each cause at most 620 requests per second.
 */
export const serverClockCheckInterval = 20 * minute;

/**
 * Milliseconds from the start of a stage to the next reminder about a CSR that is not approved or
 * not issued: one minute, then four times the previous value.
 *
 * @param reminded milliseconds from the start of the stage to the last reminder
 */
export function reminderInterval(reminded = 0): number {
  return Math.max(minute, 4 * reminded);
}

/**
 * The agent does not roll back to a pair that expires sooner, because an untested certificate
 * would have to replace this pair at once.
 */
export const minimumTimeLeftForRollback = 5 * minute;

/**
 * Milliseconds from a rollback to the next request: the delay of a rejected certificate, but at
 * most three quarters of the pair's remaining lifetime, so that the last of several attempts
 * still has more than a minute.
 */
export function delayAfterRollback(delay: number, timeLeft: number): number {
  return Math.max(Math.min(delay, Math.round(timeLeft * 0.75)), 0);
}

/** Milliseconds until the next check of a stale served certificate. @param checks checks so far */
export function servedCheckDelay(checks: number, random: number): number {
  const longest = Math.min(30 * second * 2 ** Math.min(checks, 10), 15 * minute);
  return Math.round(longest * (0.5 + random));
}

/** The result of one request or one watch of an object. */
export interface WatchStep {
  readonly startedAt: Instant;
  readonly now: Instant;
  /** The response contained a later version of the object or of the collection. */
  readonly progress: boolean;
  /**
   * The request failed, or the watch ended early. Other nodes probably lost contact at the same
   * moment.
   */
  readonly interrupted: boolean;
  /** Retry-After, in milliseconds. */
  readonly retryAfterMs: number;
}

/**
 * Limits the requests about one object. The delays grow with the wait so far: the agent notices
 * an early approval within seconds, and nodes whose CSRs are pending for days neither load the
 * API server nor return all at once after its restart.
 */
export class WatchPace {
  readonly #start: Instant;
  readonly #random: () => number;
  #failures = 0;
  /** Length of the wait at the last contact, because an outage must not lengthen the delays. */
  #waited = 0;
  #interrupted = false;

  constructor(start: Instant, random: () => number) {
    this.#start = start;
    this.#random = random;
  }

  /**
   * The timeout of the next watch in seconds, chosen as the API server would choose it. Other
   * clients use short watches to detect a dead connection; here, polls detect it.
   */
  watchSeconds(): number {
    return Math.round((shortestWatch * (1 + this.#random())) / second);
  }

  /** Milliseconds until the next poll, which runs in addition to the watch. */
  pollDelay(now: Instant): number {
    return clamp(this.#halfOf(now - this.#start), minPoll, maxPoll) * this.#spread();
  }

  /** Milliseconds until the next watch, or until the next read if no watch can start. */
  delayAfter(step: WatchStep): number {
    if (step.progress || step.now - step.startedAt >= healthyWatch) this.#failures = 0;
    if (!step.interrupted || !this.#interrupted) this.#waited = step.now - this.#start;
    this.#interrupted = step.interrupted;
    const first = this.#failures === 0;
    this.#failures += 1;
    return Math.max(this.#delay(step, first), retryAfterDelay(step.retryAfterMs, this.#random()));
  }

  #delay({ interrupted }: WatchStep, first: boolean): number {
    const doubled = Math.min(firstDelay * 2 ** (this.#failures - 1), doublingLimit);
    if (first && !interrupted) return doubled * this.#spread();
    const longest = interrupted ? longestReconnectDelay : longestMissingDelay;
    const scale = Math.max(doubled, Math.min(this.#halfOf(this.#waited), longest));
    // After an interruption, the delay may be almost zero, so that some nodes notice an approval
    // at once.
    return scale * (first ? this.#random() : this.#spread());
  }

  #halfOf(waited: number): number {
    return Math.max(waited, 0) / 2;
  }

  #spread(): number {
    return 0.5 + this.#random();
  }
}

/** A watch that lasted this long was healthy, so the next one starts at once. */
const healthyWatch = 30 * second;
const firstDelay = second / 4;
const doublingLimit = 30 * second;
/**
 * 100,000 nodes that lose their watches at the same moment return at a rate of 170 per second. A
 * node notices an approval at most a quarter of an hour late.
 */
const longestReconnectDelay = 10 * minute;
/** After a response without the object. */
const longestMissingDelay = 30 * minute;
/** --min-request-timeout of kube-apiserver. */
const shortestWatch = 30 * minute;
const minPoll = 5 * minute;
const maxPoll = hour;

/**
 * Milliseconds until a reflector tries again after a failure: one second, doubled up to 20 s, with
 * half of it subtracted or added at random, much as in client-go (tools/cache/reflector.go).
 *
 * @param failures consecutive failures, this one included
 */
export function reflectorDelay(failures: number, retryAfterMs: number, random: number): number {
  const doubled = Math.min(second * 2 ** Math.min(failures - 1, 30), 20 * second);
  return Math.max(doubled * (0.5 + random), retryAfterDelay(retryAfterMs, random));
}

/**
 * The timeout of a reflector's watch in seconds: five to ten minutes, as in client-go. A watch
 * that went silent is noticed when it ends.
 */
export function reflectorWatchSeconds(random: number): number {
  return Math.round((5 * minute * (1 + random)) / second);
}

/**
 * Milliseconds before a new list, after the server lost the version at which the watch would
 * continue. All clients of a restarted API server lose their versions at the same moment.
 */
export function expiredVersionDelay(random: number): number {
  return 2 * second * random;
}

/**
 * Milliseconds for which the approver sends no decision after the API server failed: one second,
 * doubled up to 20 s, up to half as much again at random, and never shorter than Retry-After.
 *
 * @param failures consecutive failures, this one included
 */
export function gateDelay(failures: number, retryAfterMs: number, random: number): number {
  const doubled = Math.min(second * 2 ** Math.min(failures - 1, 30), 20 * second);
  return Math.max(doubled * (1 + random / 2), retryAfterDelay(retryAfterMs, random / 10));
}

/**
 * Milliseconds until a CSR whose decision could not be recorded is tried again: 200 ms, doubled up
 * to 1000 s, and never shorter than Retry-After.
 *
 * @param failures consecutive failures of this CSR, this one included
 */
export function recordingDelay(failures: number, retryAfterMs: number, random: number): number {
  const doubled = Math.min((second / 5) * 2 ** Math.min(failures - 1, 30), 1_000 * second);
  return Math.max(doubled * (0.75 + random / 2), retryAfterDelay(retryAfterMs, random));
}

/**
 * Milliseconds until a CSR that is held is evaluated again: one second, doubled up to five
 * minutes. A change of the Node evaluates it at once.
 *
 * @param holds consecutive holds with the same reason, this one included
 */
export function holdDelay(holds: number, random: number): number {
  return Math.min(second * 2 ** Math.min(holds - 1, 30), 5 * minute) * (0.75 + random / 2);
}
