import type { IncomingMessage } from 'node:http';
import type { AgentStatus } from '../core/status.ts';
import type { AgentMetrics } from './agent-metrics.ts';
import type { Health } from './health.ts';
import { liveness, readiness } from './health.ts';
import { isTrustedHost } from './host-check.ts';
import { statusPage } from './status-page.ts';

export interface Answer {
  readonly code: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The sources of a response; each response reads them again. */
export interface Sources {
  readonly metrics: AgentMetrics;
  readonly status: () => AgentStatus;
  readonly health: () => Health;
  /** The configured host, accepted as a Host header. */
  readonly host: string;
}

export type AskedFor = Pick<IncomingMessage, 'method' | 'url'> & {
  readonly headers: Pick<IncomingMessage['headers'], 'host'>;
};

/** Answers a request to an agent. */
export async function answer(request: AskedFor, sources: Sources): Promise<Answer> {
  const hosts = [sources.host, sources.status().nodeName];
  return answerWith(request, { routes, sources, hosts });
}

export type Route<S> = (sources: S) => Answer | Promise<Answer>;

/** Answers a request with the route of its path. HEAD gets the answer to GET; the caller leaves the body out. */
export async function answerWith<S>(
  { method = 'GET', url = '/', headers }: AskedFor,
  options: {
    readonly routes: ReadonlyMap<string, Route<S>>;
    readonly sources: S;
    /** The names that are accepted as a Host header. */
    readonly hosts: readonly string[];
  },
): Promise<Answer> {
  const { routes: known, sources, hosts } = options;
  if (!isTrustedHost(headers.host, hosts)) {
    return plain(
      421,
      `this server does not answer requests for the host ${headers.host}; use its IP address\n`,
    );
  }
  const route = known.get(url.split('?', 1)[0] ?? '');
  if (route === undefined)
    return plain(404, `not found; available paths: ${[...known.keys()].join(' ')}\n`);
  if (method !== 'GET' && method !== 'HEAD') {
    return { ...plain(405, 'only GET and HEAD are allowed\n'), headers: { allow: 'GET, HEAD' } };
  }
  return await route(sources);
}

const routes: ReadonlyMap<string, Route<Sources>> = new Map<string, Route<Sources>>([
  ['/', ({ status }) => page(statusPage(status()))],
  [
    '/metrics',
    async ({ metrics }) => ({
      code: 200,
      type: metrics.contentType,
      body: await metrics.render(),
    }),
  ],
  [
    '/healthz',
    ({ health }) => {
      const { healthy, text } = liveness(health());
      return plain(healthy ? 200 : 503, text);
    },
  ],
  [
    '/readyz',
    ({ status }) => {
      const { healthy, text } = readiness(status());
      return plain(healthy ? 200 : 503, text);
    },
  ],
  [
    '/status',
    ({ status }) => ({
      code: 200,
      type: 'application/json; charset=utf-8',
      body: `${JSON.stringify(status())}\n`,
    }),
  ],
]);

export function plain(code: number, body: string): Answer {
  return { code, type: 'text/plain; charset=utf-8', body };
}

/** The policy is a second line of defense if unescaped text ever reaches the page: no script, form, frame or remote resource. */
function page(body: string): Answer {
  const policy =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
  return {
    code: 200,
    type: 'text/html; charset=utf-8',
    body,
    headers: { 'content-security-policy': policy, 'referrer-policy': 'no-referrer' },
  };
}
