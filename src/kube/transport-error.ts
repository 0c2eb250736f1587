import type { ErrorCode } from '../core/errors.ts';
import { AgentError } from '../core/errors.ts';
import type { ClusterAccess } from './cluster-access.ts';
import { proxyFor } from './proxy.ts';

/** The typed form of what went wrong before there was a complete answer. */
export function transportError(
  error: unknown,
  { request, access }: { readonly request: string; readonly access: ClusterAccess },
): AgentError {
  if (error instanceof AgentError) return error;
  const found = codesOf(error);
  const rule = rules.find(({ matches }) => found.some((code) => matches(code)));
  const { code, says, remedy } = rule ?? unreachable;
  const proxy = proxyFor(access.cluster);
  const via = proxy === undefined ? '' : ` through proxy ${proxy.label}`;
  const detail = found[0] === undefined ? '' : ` (${found[0]})`;
  return new AgentError(code, `${request} at ${access.cluster.server}${via}: ${says}${detail}`, {
    cause: error,
    remedy: remedy(access, found),
  });
}

interface Rule {
  readonly code: ErrorCode;
  readonly says: string;
  readonly matches: (code: string) => boolean;
  readonly remedy: (access: ClusterAccess, found: readonly string[]) => string;
}

const unreachable: Omit<Rule, 'matches'> = {
  code: 'API_UNREACHABLE',
  says: 'the connection failed',
  remedy: unreachableRemedy,
};

function unreachableRemedy({ path, cluster }: ClusterAccess): string {
  const proxy = proxyFor(cluster);
  if (proxy === undefined) {
    return `Check that the API server runs and that server in ${path} leads to it`;
  }
  const { host, hostname } = new URL(cluster.server);
  const check = `Check that the proxy ${proxy.label} runs and allows CONNECT to ${host}`;
  return proxy.source === 'proxy-url' ? check : `${check}, or add ${hostname} to NO_PROXY`;
}

/**
 * Why OpenSSL and Node do not trust a server: the names of X509_V_ERR_* as
 * crypto_x509 in Node gives them, and Node's own for a name that does not match.
 */
const untrusted = new Set([
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_DECRYPT_CERT_SIGNATURE',
  'UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_SIGNATURE_FAILURE',
  'CERT_NOT_YET_VALID',
  'CERT_HAS_EXPIRED',
  'ERROR_IN_CERT_NOT_BEFORE_FIELD',
  'ERROR_IN_CERT_NOT_AFTER_FIELD',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'CERT_CHAIN_TOO_LONG',
  'CERT_REVOKED',
  'INVALID_CA',
  'PATH_LENGTH_EXCEEDED',
  'INVALID_PURPOSE',
  'CERT_UNTRUSTED',
  'CERT_REJECTED',
  'HOSTNAME_MISMATCH',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'ERR_TLS_CERT_ALTNAME_FORMAT',
  'UND_ERR_PRX_TLS',
]);

/** TLS alerts by which a server says that it does not like our certificate (RFC 8446 6.2). */
const refused =
  /^ERR_SSL_.*ALERT_(BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_\w+|UNKNOWN_CA|ACCESS_DENIED)$/;

const rules: readonly Rule[] = [
  {
    code: 'API_UNTRUSTED',
    says: 'the server certificate is not trusted',
    matches: (code) => untrusted.has(code),
    remedy: trustRemedy,
  },
  {
    code: 'API_UNAUTHORIZED',
    says: 'the server refused the client certificate',
    matches: (code) => refused.test(code),
    remedy: ({ path }) => `Check that the client certificate of ${path} was issued by this cluster`,
  },
  {
    code: 'API_TIMEOUT',
    says: 'no connection in time',
    matches: (code) => code === 'UND_ERR_CONNECT_TIMEOUT' || code === 'ETIMEDOUT',
    remedy: ({ path }) => `Check routes and firewalls between this node and server in ${path}`,
  },
  {
    code: 'API_BAD_RESPONSE',
    says: 'the answer is not HTTP as it should be',
    matches: (code) => code.startsWith('HPE_') || malformed.has(code),
    remedy: ({ path }) => `Check that server in ${path} is a Kubernetes API server`,
  },
  {
    code: 'ABORTED',
    says: 'the client was closed',
    matches: (code) => code === 'UND_ERR_CLOSED' || code === 'UND_ERR_DESTROYED',
    remedy: () => 'Nothing to do: the request is repeated with the new identity',
  },
];

const malformed = new Set([
  'UND_ERR_HEADERS_OVERFLOW',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
  'UND_ERR_RES_EXCEEDED_MAX_SIZE',
]);

function trustRemedy({ path, cluster }: ClusterAccess, found: readonly string[]): string {
  if (found.includes('UND_ERR_PRX_TLS')) {
    const source = proxyFor(cluster)?.source;
    const place = source === 'proxy-url' ? `proxy-url in ${path}` : `${source} in the environment`;
    return `Set ${place} to a host that the certificate of the proxy names`;
  }
  if (found.includes('CERT_HAS_EXPIRED')) {
    return "Renew the API server's certificate, or check the clock of this node";
  }
  if (found.includes('CERT_NOT_YET_VALID')) return 'Check the clock of this node';
  if (found.includes('ERR_TLS_CERT_ALTNAME_INVALID')) {
    return `Use a server address that the certificate names, or set tls-server-name in ${path}`;
  }
  return `Put the CA that signed the API server's certificate into certificate-authority-data of ${path}`;
}

/** The codes of an error and of what caused it, the outermost first. */
function codesOf(error: unknown): string[] {
  const codes: string[] = [];
  const queue: unknown[] = [error];
  for (const link of queue) {
    if (!(link instanceof Error) || codes.length >= 8) continue;
    if ('code' in link && typeof link.code === 'string') codes.push(link.code);
    // undici gives its parser's errors a code for some faults only.
    else if (link.name === 'HTTPParserError') codes.push('HPE_INVALID');
    if (link instanceof AggregateError) queue.push(...link.errors);
    queue.push(link.cause);
  }
  return [...new Set(codes)];
}
