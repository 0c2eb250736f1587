import { remedies } from './remedies.ts';

/**
 * Codes that can end an attempt to get a certificate. Their failure counters exist at zero
 * from the start, because `increase()` does not see the first sample of a new series. Each
 * code has a back-off in timing.ts.
 */
export const attemptCodes = [
  // credentials for the API server
  'KUBECONFIG_MISSING',
  'KUBECONFIG_INVALID',
  'KUBECONFIG_UNSUPPORTED',
  'CREDENTIAL_EXPIRED',
  'PLUGIN_FAILED',
  // requests to the API server
  'API_UNREACHABLE',
  'API_TIMEOUT',
  'API_UNTRUSTED',
  'API_BAD_RESPONSE',
  'API_BAD_REQUEST',
  'API_UNAUTHORIZED',
  'API_ANONYMOUS',
  'API_FORBIDDEN',
  'API_NOT_FOUND',
  'API_CONFLICT',
  'API_THROTTLED',
  'API_SERVER_ERROR',
  // discovery of a cluster
  'CLUSTER_UNTRUSTED',
  'TOKEN_REJECTED',
  // certificate signing requests
  'CSR_DENIED',
  'CSR_FAILED',
  'CSR_DELETED',
  // issued certificates that differ from the request
  'CERT_MALFORMED',
  'CERT_KEY_MISMATCH',
  'CERT_SUBJECT_MISMATCH',
  'CERT_SAN_MISMATCH',
  'CERT_USAGE_MISMATCH',
  'CERT_NOT_YET_VALID',
  'CERT_EXPIRED',
  'CERT_UNTRUSTED',
  // key pairs on disk
  'PAIR_MALFORMED',
  'STORE_LOCKED',
  'STORE_PERMISSIONS',
  'STORE_VOLATILE',
  'STORE_FULL',
  'STORE_IO',
  // a new certificate that was rolled back
  'SERVED_STALE',
  // the enroller
  'KEY_UNSUPPORTED',
  'ENROLLER_LOST',
  'ENROLLER_HUNG',
  'INTERNAL',
] as const;

/** Codes that never end an attempt. The comments say what happens instead. */
const otherCodes = [
  // the command or the start of the agent fails
  'USAGE',
  'CONFIG_UNREADABLE',
  'CONFIG_INVALID',
  'METRICS_LISTEN',
  'CONTROL_LISTEN',
  'AGENT_UNREACHABLE',
  'RENEWAL_PENDING',
  // certs renew fails
  'COMPONENT_RESTART',
  'CA_EXTERNAL',
  'CLOCK_UNTRUSTED',
  'LEASE_LOST',
  // trust sync does not use the CAs of a source
  'TRUST_REFUSED',
  // discover fails
  'BOOTSTRAP_EXISTS',
  'NODE_EXISTS',
  // adopt fails
  'FILE_CHANGED',
  'KUBELET_RESTART',
  // the hook runs again; the certificate is stored already
  'HOOK_FAILED',
  'HOOK_TIMEOUT',
  // the watch starts again
  'API_GONE',
  // the agent is stopping
  'ABORTED',
] as const;

/**
 * The codes of all failures. Logs, metric labels and alerts use them, so the meaning of a code
 * never changes. Messages may change.
 */
export const errorCodes = [...attemptCodes, ...otherCodes] as const;

export type AttemptCode = (typeof attemptCodes)[number];
export type ErrorCode = (typeof errorCodes)[number];

/** Failures of a request that another credential or another server on disk may fix, so the enroller reads the files again. */
export const credentialFailures: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'API_UNAUTHORIZED',
  'API_ANONYMOUS',
  'API_FORBIDDEN',
  'API_BAD_RESPONSE',
  'API_UNTRUSTED',
  'API_UNREACHABLE',
  'KUBECONFIG_INVALID',
  'PLUGIN_FAILED',
]);

/** No CA that this node trusts verifies the API server, or the discovery of another CA failed. */
export const trustFailures: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'API_UNTRUSTED',
  'CLUSTER_UNTRUSTED',
  'TOKEN_REJECTED',
]);

/**
 * Failures that a change of the credential files may fix: the failures above, and failures to
 * load the files. After a failed load, each attempt loads the files again in any case.
 */
export const credentialFileFailures: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  ...credentialFailures,
  'KUBECONFIG_MISSING',
  'KUBECONFIG_UNSUPPORTED',
  'CREDENTIAL_EXPIRED',
  'CLUSTER_UNTRUSTED',
  'TOKEN_REJECTED',
]);

export interface ErrorDetails {
  readonly cause?: unknown;
  /** The fix: one imperative sentence for the administrator, often with a command. */
  readonly remedy?: string;
  /** Retry-After of the server, in milliseconds. */
  readonly retryAfterMs?: number;
}

/**
 * The one error type that crosses folders. The message says what failed, on what, and the value
 * found, without a final period. The remedy is a separate property because it is a separate field
 * in the log.
 */
export class AgentError extends Error {
  override readonly name = 'AgentError';
  readonly code: ErrorCode;
  readonly remedy: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.remedy = details.remedy;
    this.retryAfterMs = details.retryAfterMs;
  }

  /** A copy of the error with another message, usually to add context. */
  withMessage(message: string): AgentError {
    const { cause, remedy, retryAfterMs } = this;
    return new AgentError(this.code, message, {
      cause,
      ...(remedy !== undefined && { remedy }),
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    });
  }
}

/** An error as plain data, for the process boundary and the status. */
export interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly remedy?: string;
  readonly retryAfterMs?: number;
}

/**
 * Converts any thrown value to a Failure. A value that is not an AgentError becomes INTERNAL.
 * Every failure has a remedy: the remedy of the error, or the default remedy of its code.
 */
export function toFailure(error: unknown): Failure {
  const message = describeError(error);
  if (!(error instanceof AgentError)) {
    return { code: 'INTERNAL', message, remedy: remedies.INTERNAL };
  }
  return {
    code: error.code,
    message,
    remedy: error.remedy ?? remedies[error.code],
    ...(error.retryAfterMs !== undefined && { retryAfterMs: error.retryAfterMs }),
  };
}

/** The error that a failure was made from, without its causes: the message contains them. */
export function toError({ code, message, ...details }: Failure): AgentError {
  return new AgentError(code, message, details);
}

/**
 * `message: cause: cause of the cause`. Each part appears once, even if the chain of causes is a
 * cycle.
 */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  for (const link of causeChain(error)) {
    const text = textOf(link);
    if (!parts.some((part) => covers(part, text))) parts.push(text);
  }
  return parts.join(': ');
}

/** Node's text for a missing file adds nothing to our own "… does not exist". */
function covers(part: string, text: string): boolean {
  return part.includes(text) || (text.startsWith('ENOENT: ') && part.endsWith(' does not exist'));
}

function causeChain(error: unknown): Set<unknown> {
  const links = new Set([error]);
  for (const link of links) {
    // The loop also visits links that are added during it.
    if (link instanceof Error && link.cause !== undefined && links.size < 8) links.add(link.cause);
  }
  return links;
}

function textOf(link: unknown): string {
  if (typeof link === 'string') return link;
  return link instanceof Error ? link.message || link.name : `thrown ${typeof link}`;
}

/** True for a system error of Node with one of these codes, such as ENOENT. */
export function hasErrno(error: unknown, ...codes: readonly string[]): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    codes.includes(error.code)
  );
}

/** True for an AgentError with one of these codes. */
export function hasCode(error: unknown, ...codes: readonly ErrorCode[]): error is AgentError {
  return error instanceof AgentError && codes.includes(error.code);
}
