import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { MetricsConfig } from '../core/config.ts';
import { AgentError, describeError, hasErrno } from '../core/errors.ts';
import { formatHostPort } from '../core/host-port.ts';
import { second } from '../core/instant.ts';
import type { AgentStatus } from '../core/status.ts';
import { localHost } from '../sys/local-host.ts';
import type { AgentMetrics } from './agent-metrics.ts';
import type { Health } from './health.ts';
import type { Answer, Sources } from './routes.ts';
import { answer } from './routes.ts';

export interface MetricsServerOptions {
  readonly metrics: AgentMetrics;
  readonly status: () => AgentStatus;
  readonly health: () => Health;
  readonly config: MetricsConfig;
  readonly limits?: ServerLimits;
}

export interface PageServerOptions {
  readonly config: MetricsConfig;
  readonly answer: (request: IncomingMessage) => Promise<Answer>;
  readonly limits?: ServerLimits;
}

/** Bounds what an unauthenticated client can use up in the keeper. */
export interface ServerLimits {
  readonly connections: number;
  /** Milliseconds for the headers of a request to arrive, and for the whole request. */
  readonly requestMs: number;
  /** Milliseconds between two searches for connections that are too slow. */
  readonly checkMs: number;
}

/** Prometheus keeps one connection open; the others are for people, probes and a second Prometheus. */
export const defaultLimits: ServerLimits = {
  connections: 16,
  requestMs: 5 * second,
  checkMs: 5 * second,
};

export interface MetricsServer extends AsyncDisposable {
  /** The bound address; also the actual port when the configuration says 0. */
  readonly address: { readonly host: string; readonly port: number };
  /** The bound address, for people: `0.0.0.0:9471`. */
  readonly listening: string;
  /** Base URL for use on this machine, without a trailing slash: `http://127.0.0.1:9471`. */
  readonly url: string;
}

/**
 * Serves /metrics, /healthz, /readyz, /status and a status page until disposed.
 *
 * @throws AgentError METRICS_LISTEN if it cannot listen on the address
 */
export async function startMetricsServer(options: MetricsServerOptions): Promise<MetricsServer> {
  const { config, metrics, status, health, limits } = options;
  const sources: Sources = { metrics, status, health, host: config.host };
  return startPageServer({
    config,
    answer: (request) => answer(request, sources),
    ...(limits !== undefined && { limits }),
  });
}

/**
 * Serves pages until disposed.
 *
 * @throws AgentError METRICS_LISTEN if it cannot listen on the address
 */
export async function startPageServer(options: PageServerOptions): Promise<MetricsServer> {
  const { config, limits = defaultLimits } = options;
  const server = createLimitedServer(limits);
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    void respond(request, response, options);
  });
  await listen(server, config);
  // A failed accept (no file descriptor left) would end the process; certificates matter more than metrics.
  server.on('error', () => {});
  const address = boundAddress(server, config);
  return {
    address,
    listening: formatHostPort(address),
    url: localUrl(address),
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function createLimitedServer({ connections, requestMs, checkMs }: ServerLimits): Server {
  const server = createServer({
    headersTimeout: requestMs,
    requestTimeout: requestMs,
    connectionsCheckingInterval: checkMs,
    maxHeaderSize: 8 * 1024,
  });
  // Also closes connections that never send a byte, and connections whose client stops reading.
  server.timeout = 2 * requestMs;
  server.maxConnections = connections;
  return server;
}

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  options: PageServerOptions,
): Promise<void> {
  const { code, type, body, headers } = await answerOrFail(request, options);
  response.writeHead(code, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    // A refused request may have a body, which is not worth reading.
    ...(code >= 400 && code < 500 && { connection: 'close' }),
    ...headers,
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

async function answerOrFail(request: IncomingMessage, options: PageServerOptions): Promise<Answer> {
  try {
    return await options.answer(request);
  } catch (error) {
    return { code: 500, type: 'text/plain; charset=utf-8', body: `${describeError(error)}\n` };
  }
}

async function listen(server: Server, { host, port }: MetricsConfig): Promise<void> {
  try {
    server.listen({ host, port });
    await once(server, 'listening');
  } catch (error) {
    throw new AgentError(
      'METRICS_LISTEN',
      `cannot serve metrics on ${formatHostPort({ host, port })}`,
      {
        cause: error,
        remedy: listenRemedy(error, port),
      },
    );
  }
}

function listenRemedy(error: unknown, port: number): string {
  if (hasErrno(error, 'EADDRINUSE')) {
    return `Find the program on this port with: ss -ltnp 'sport = :${port}', or set metrics.address to another port`;
  }
  if (hasErrno(error, 'EACCES')) return 'Set metrics.address to a port above 1023';
  return 'Set metrics.address to an address of this machine; list them with: ip -brief address';
}

function boundAddress(server: Server, { host, port }: MetricsConfig): MetricsServer['address'] {
  const bound = server.address();
  return bound === null || typeof bound === 'string'
    ? { host, port }
    : { host: bound.address, port: bound.port };
}

function localUrl({ host, port }: MetricsServer['address']): string {
  return `http://${formatHostPort({ host: localHost(host), port })}`;
}
