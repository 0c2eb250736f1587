import type { ErrorCode } from '../core/errors.ts';
import { AgentError } from '../core/errors.ts';
import type { ClusterAccess } from './cluster-access.ts';
import { proxyFor } from './proxy.ts';
import type { CertificateProblem } from './server-certificate.ts';
import { explainCertificateError, isVerificationCode } from './server-certificate.ts';

/** The AgentError for a request that failed before the response was complete. */
export function transportError(
  error: unknown,
  { request, access }: { readonly request: string; readonly access: ClusterAccess },
): AgentError {
  if (error instanceof AgentError) return error;
  const links = linksOf(error);
  const found = systemCodes(error);
  const proxy = proxyFor(access.cluster);
  const via = proxy === undefined ? '' : ` through proxy ${proxy.label}`;
  const prefix = `${request} at ${access.cluster.server}${via}`;
  const detail = found[0] === undefined ? '' : ` (${found[0]})`;
  const problem = problemIn(links, access);
  if (problem !== undefined) {
    const { message, remedy } = problem;
    // Without the cause, because Node's message recommends command-line options of Node.
    return new AgentError('API_UNTRUSTED', `${prefix}: ${message}${detail}`, { remedy });
  }
  const rule = rules.find(({ matches }) => found.some((code) => matches(code)));
  const { code, message, remedy } = rule ?? unreachable;
  return new AgentError(code, `${prefix}: ${message}${detail}`, {
    cause: error,
    remedy: remedy(access),
  });
}

/**
 * The codes of an error and its causes, such as ECONNREFUSED or CERT_HAS_EXPIRED, the outermost
 * first.
 */
export function systemCodes(error: unknown): string[] {
  return [...new Set(linksOf(error).flatMap(codeOf))];
}

/** Undefined for an error that is not about the certificate of the server. */
export function verificationCode(error: unknown): string | undefined {
  const codes = systemCodes(error);
  return codes.includes(proxyTlsError) ? undefined : codes.find(isVerificationCode);
}

const proxyTlsError = 'UND_ERR_PRX_TLS';

function problemIn(links: readonly Error[], access: ClusterAccess): CertificateProblem | undefined {
  if (links.some((link) => codeOf(link).includes(proxyTlsError))) {
    return {
      message: 'the certificate of the proxy cannot be verified',
      remedy:
        'Set the address of the proxy to a name in its certificate, and check that the kubeconfig or this system trusts the CA of that certificate',
    };
  }
  return links
    .flatMap((link) => codeOf(link).map((code) => explainCertificateError(link, code, access)))
    .find((problem) => problem !== undefined);
}

interface Rule {
  readonly code: ErrorCode;
  readonly message: string;
  readonly matches: (code: string) => boolean;
  readonly remedy: (access: ClusterAccess) => string;
}

const unreachable: Omit<Rule, 'matches'> = {
  code: 'API_UNREACHABLE',
  message: 'the connection failed',
  remedy: unreachableRemedy,
};

function unreachableRemedy({ path, cluster }: ClusterAccess): string {
  const proxy = proxyFor(cluster);
  if (proxy === undefined) {
    return `Check that the API server runs and that server in ${path} is its address`;
  }
  const { host, hostname } = new URL(cluster.server);
  const check = `Check that the proxy ${proxy.label} runs and allows CONNECT to ${host}`;
  return proxy.source === 'proxy-url' ? check : `${check}, or add ${hostname} to NO_PROXY`;
}

/** TLS alerts with which a server rejects the client certificate (RFC 8446 6.2). */
const rejection =
  /^ERR_SSL_.*ALERT_(BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_\w+|UNKNOWN_CA|ACCESS_DENIED)$/;

const rules: readonly Rule[] = [
  {
    code: 'API_UNAUTHORIZED',
    message: 'the server rejected the client certificate',
    matches: (code) => rejection.test(code),
    remedy: ({ path }) => `Check that this cluster issued the client certificate of ${path}`,
  },
  {
    code: 'API_TIMEOUT',
    message: 'the connection timed out',
    matches: (code) => timeouts.has(code),
    remedy: ({ path }) => `Check routes and firewalls between this node and server in ${path}`,
  },
  {
    code: 'API_BAD_RESPONSE',
    message: 'the response is not valid HTTP',
    matches: (code) => code.startsWith('HPE_') || malformed.has(code),
    remedy: ({ path }) => `Set server in ${path} to the URL of the Kubernetes API server`,
  },
  {
    code: 'ABORTED',
    message: 'the client was closed',
    matches: (code) => code === 'UND_ERR_CLOSED' || code === 'UND_ERR_DESTROYED',
    remedy: () => 'Do nothing: nodecertd repeats the request with the new identity',
  },
];

/** The second is from a proxy that does not answer CONNECT. */
const timeouts = new Set(['UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'ETIMEDOUT']);

const malformed = new Set([
  'UND_ERR_HEADERS_OVERFLOW',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
  'UND_ERR_RES_EXCEEDED_MAX_SIZE',
]);

/** An error and its causes, the outermost first. */
function linksOf(error: unknown): Error[] {
  const links: Error[] = [];
  const queue: unknown[] = [error];
  for (const link of queue) {
    if (!(link instanceof Error) || links.length >= 8) continue;
    links.push(link);
    if (link instanceof AggregateError) queue.push(...link.errors);
    queue.push(link.cause);
  }
  return links;
}

function codeOf(link: Error): string[] {
  if ('code' in link && typeof link.code === 'string') return [link.code];
  // Only some errors of undici's parser have a code.
  return link.name === 'HTTPParserError' ? ['HPE_INVALID'] : [];
}
