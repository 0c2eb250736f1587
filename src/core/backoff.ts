import type { AttemptCode, ErrorCode, Failure } from './errors.ts';
import { hour, minute, second } from './instant.ts';
import { clamp } from './schedule.ts';

interface Backoff {
  readonly first: number;
  readonly limit: number;
}

/** An answer that never came, or "not now": try again soon, then less often. */
const transient: Backoff = { first: 2 * second, limit: 5 * minute };
/** A person has to change something; the files involved are watched, so waiting is cheap. */
const needsPerson: Backoff = { first: 10 * second, limit: 15 * minute };
/** The pair is issued and only has to reach the disk, or those who use it. */
const local: Backoff = { first: 2 * second, limit: minute };
/**
 * Somebody decided against this request, or against the pair that came of it: asking
 * again within the hour would be nagging.
 */
const decided: Backoff = { first: 2 * hour, limit: 12 * hour };
/** The signer does something unexpected; each try costs a CSR. */
const mismatched: Backoff = { first: 10 * minute, limit: 6 * hour };
/** The request went away undecided; the upstream cleaner does that after a day. */
const vanished: Backoff = { first: minute, limit: hour };

/** A crash loses the key, so each try may leave a CSR behind. */
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
  API_FORBIDDEN: needsPerson,
  API_NOT_FOUND: needsPerson,
  API_BAD_REQUEST: needsPerson,
  API_UNTRUSTED: needsPerson,
  KUBECONFIG_MISSING: needsPerson,
  KUBECONFIG_INVALID: needsPerson,
  KUBECONFIG_UNSUPPORTED: needsPerson,
  CREDENTIAL_EXPIRED: needsPerson,
  KEY_UNSUPPORTED: needsPerson,
  CSR_DENIED: decided,
  CSR_FAILED: decided,
  CSR_DELETED: vanished,
  API_CONFLICT: vanished,
  CERT_MALFORMED: mismatched,
  CERT_KEY_MISMATCH: mismatched,
  CERT_SUBJECT_MISMATCH: mismatched,
  CERT_SAN_MISMATCH: mismatched,
  CERT_USAGE_MISMATCH: mismatched,
  CERT_EXPIRED: mismatched,
  CERT_UNTRUSTED: mismatched,
  CERT_NOT_YET_VALID: local,
  PAIR_MALFORMED: local,
  STORE_LOCKED: needsPerson,
  STORE_PERMISSIONS: local,
  STORE_VOLATILE: needsPerson,
  STORE_FULL: local,
  STORE_IO: local,
  SERVED_STALE: decided,
  ENROLLER_LOST: crashed,
  ENROLLER_HUNG: crashed,
  INTERNAL: crashed,
};

const backoffs: Readonly<Partial<Record<ErrorCode, Backoff>>> = {
  ...attemptBackoffs,
  HOOK_FAILED: local,
  HOOK_TIMEOUT: local,
};

/** The kind of trouble a code means: delays grow within a kind, and start anew with another. */
export function sameKind(a: ErrorCode, b: ErrorCode): boolean {
  return (backoffs[a] ?? transient) === (backoffs[b] ?? transient);
}

/**
 * Milliseconds until the next try: doubling from the first delay of the code's
 * class to its limit, and never sooner than the server asked for (Retry-After).
 * Each delay is spread over as much time as it is long, so that N nodes which failed
 * at the same moment come back as N in that time, not as one.
 *
 * @param failures consecutive failures of this kind, this one included
 * @param chance a number in [0, 1)
 */
export function retryDelay(failure: Failure, failures: number, chance: number): number {
  const { first, limit } = backoffs[failure.code] ?? transient;
  const doubled = Math.min(first * 2 ** Math.min(Math.max(failures - 1, 0), 30), limit);
  const spread = Math.round(doubled * (0.5 + chance));
  // A server that asks for less than the backoff does not shorten it.
  const asked = Math.min(failure.retryAfterMs ?? 0, hour);
  return Math.max(spread, Math.round(asked * (1 + chance)));
}

/** What `retryDelay` cannot exceed for a failure of this kind, Retry-After aside. */
export function longestDelay({ code }: Failure): number {
  const { limit } = backoffs[code] ?? transient;
  return Math.round(limit * 1.5);
}

/**
 * How long a request that went away undecided is not made again, given how long it
 * had stood. The cleaner takes away all that are a day old in one sweep: the nodes of
 * a cluster without an approver must not answer it in one. What was deleted soon,
 * somebody deleted to have it made again.
 */
export function deletionPause(stood: number): number {
  return clamp(Math.round(stood / 48), 0, 30 * minute);
}
