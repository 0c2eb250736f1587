import { AgentError } from '../core/errors.ts';
import type { ErrorCode } from '../core/errors.ts';
import { formatHostPort, hostOf } from '../core/host-port.ts';
import { printable } from '../core/printable.ts';
import type { ClusterAccess } from '../kube/cluster-access.ts';
import { proxyFor } from '../kube/proxy.ts';
import { systemCodes } from '../kube/transport-error.ts';

/** The error for a GET without a response, in words for an endpoint of `discover`. */
export function connectionFailure(failure: AgentError, { cluster }: ClusterAccess): AgentError {
  if (failure.code === 'ABORTED' || failure.code === 'API_UNTRUSTED') return failure;
  const server = new URL(cluster.server);
  const proxy = proxyFor(cluster);
  const target: Target = {
    host: hostOf(server),
    port: server.port || '443',
    ...(proxy !== undefined && { proxy: new URL(proxy.url).host }),
  };
  const { code, message, ...details } = explain(failure, target);
  const via = target.proxy === undefined ? '' : ` (through the proxy ${target.proxy})`;
  return new AgentError(code, `${message}${via}`, details);
}

interface Target {
  readonly host: string;
  readonly port: string;
  /** The host and port of the proxy. */
  readonly proxy?: string;
}

interface Explanation {
  readonly code: ErrorCode;
  readonly message: string;
  readonly remedy: string;
  /** Absent if the message says as much. */
  readonly cause?: unknown;
}

function explain(failure: AgentError, target: Target): Explanation {
  const codes = systemCodes(failure.cause);
  const rule = rules.find(({ matches }) => codes.some((code) => matches.test(code)));
  if (rule !== undefined) {
    const { code, message, remedy } = rule;
    return { code, message, remedy: remedy(target) };
  }
  const { code, message } = failure;
  if (code === 'API_BAD_RESPONSE') return explainServer(message);
  if (code === 'API_TIMEOUT') {
    return { code, message: 'no complete response within 10s', remedy: reach(target) };
  }
  const detail = codes[0] === undefined ? '' : ` (${printable(codes[0], 60)})`;
  return {
    code: 'API_UNREACHABLE',
    message: `the connection failed${detail}`,
    remedy: reach(target),
    cause: failure.cause,
  };
}

/** @param found what shows that the server is another kind of server */
export function notAnApiServer(found: string): AgentError {
  const { code, message, remedy } = explainServer(found);
  return new AgentError(code, message, { remedy });
}

function explainServer(found: string): Explanation {
  return {
    code: 'API_BAD_RESPONSE',
    message: `not a Kubernetes API server: ${found}`,
    remedy: otherServer(),
  };
}

function otherServer(): string {
  return 'Set the endpoint to the address of an API server; if only a proxy can connect to it, add --proxy URL, because nodecertd discover does not use HTTPS_PROXY';
}

interface Rule {
  readonly matches: RegExp;
  readonly code: ErrorCode;
  readonly message: string;
  readonly remedy: (target: Target) => string;
}

function reach({ host, port, proxy }: Target): string {
  if (proxy !== undefined) {
    return `Check that the proxy ${proxy} runs and allows CONNECT to ${formatHostPort({ host, port })}`;
  }
  return `Check the address of the API server, and routes and firewalls on the way: nc -vz ${host} ${port}`;
}

function resolve({ host, proxy }: Target): string {
  if (proxy !== undefined) return `Check the name of the proxy ${proxy}, or the DNS servers`;
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
    remedy: ({ host }) =>
      `Set the endpoint to the https port of an API server, usually 6443: ${host}:6443`,
  },
];
