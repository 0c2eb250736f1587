import { AgentError } from '../core/errors.ts';
import type { ErrorCode } from '../core/errors.ts';
import { printable } from '../core/printable.ts';
import { systemCodes } from '../kube/transport-error.ts';

/** The error for a GET without a response, in words for an endpoint of `discover`. */
export function connectionFailure(
  failure: AgentError,
  { host, port }: { readonly host: string; readonly port: string },
): AgentError {
  if (failure.code === 'ABORTED' || failure.code === 'API_UNTRUSTED') return failure;
  const codes = systemCodes(failure.cause);
  const rule = rules.find(({ matches }) => codes.some((code) => matches.test(code)));
  if (rule !== undefined) {
    return new AgentError(rule.code, rule.message, { remedy: rule.remedy(host, port) });
  }
  if (failure.code === 'API_TIMEOUT') return timedOut(host, port);
  if (failure.code === 'API_BAD_RESPONSE') return notAnApiServer(failure.message);
  const detail = codes[0] === undefined ? '' : ` (${printable(codes[0], 60)})`;
  return new AgentError('API_UNREACHABLE', `the connection failed${detail}`, {
    cause: failure.cause,
    remedy: reach(host, port),
  });
}

function timedOut(host: string, port: string): AgentError {
  return new AgentError('API_TIMEOUT', 'no complete response within 10s', {
    remedy: reach(host, port),
  });
}

/** @param found what shows that the server is another kind of server */
export function notAnApiServer(found: string): AgentError {
  return new AgentError('API_BAD_RESPONSE', `not a Kubernetes API server: ${found}`, {
    remedy: otherServer(),
  });
}

function otherServer(): string {
  return 'Set the endpoint to the address of an API server. HTTPS_PROXY is not used: if only a proxy can connect to the API server, add --proxy URL';
}

interface Rule {
  readonly matches: RegExp;
  readonly code: ErrorCode;
  readonly message: string;
  readonly remedy: (host: string, port: string) => string;
}

function reach(host: string, port: string): string {
  return `Check the address of the API server, and routes and firewalls on the way: nc -vz ${host} ${port}`;
}

function resolve(host: string): string {
  return `Check the name and the DNS servers of this machine: getent ahosts ${host}`;
}

const plainHttp =
  /^(EPROTO|ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST|RECORD_LAYER_FAILURE))$/;

const rules: readonly Rule[] = [
  {
    matches: /^ECONNREFUSED$/,
    code: 'API_UNREACHABLE',
    message: 'connection refused',
    remedy: reach,
  },
  {
    matches: /^(ECONNRESET|EPIPE|UND_ERR_SOCKET)$/,
    code: 'API_UNREACHABLE',
    message: 'the server closed the connection',
    remedy: reach,
  },
  {
    matches: /^(ENOTFOUND|EAI_NONAME|EAI_NODATA)$/,
    code: 'API_UNREACHABLE',
    message: 'the name does not resolve',
    remedy: resolve,
  },
  {
    matches: /^EAI_/,
    code: 'API_UNREACHABLE',
    message: 'the DNS servers do not answer',
    remedy: resolve,
  },
  {
    matches: /^E(HOST|NET)(UNREACH|DOWN)$/,
    code: 'API_UNREACHABLE',
    message: 'no route to the host',
    remedy: reach,
  },
  {
    matches: /^HPE_/,
    code: 'API_BAD_RESPONSE',
    message: 'not a Kubernetes API server: the response is not valid HTTP',
    remedy: otherServer,
  },
  {
    matches: plainHttp,
    code: 'API_BAD_RESPONSE',
    message: 'not a Kubernetes API server: it does not use TLS',
    remedy: (host) =>
      `Set the endpoint to the https port of an API server, usually 6443: ${host}:6443`,
  },
];
