import type { X509Certificate } from 'node:crypto';
import type { Dispatcher } from 'undici';
import undiciRequest from 'undici/lib/api/api-request.js';
import type { Clock } from '../sys/clock.ts';
import { readBody } from './body.ts';
import type { ClusterAccess } from './cluster-access.ts';
import { Deadline } from './deadline.ts';
import { openDispatcher } from './dispatcher.ts';
import { transportError, verificationCode } from './transport-error.ts';

export interface SingleGet {
  readonly access: ClusterAccess;
  /** With its query. */
  readonly path: string;
  /** The version of this program, for the User-Agent. */
  readonly version: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** For the connection and the whole response. */
  readonly limitMs: number;
  readonly bodyBytes: number;
}

/**
 * The result of a GET. Behind a proxy, a certificate that could not be verified is unknown.
 */
export type SingleResponse =
  | {
      readonly kind: 'response';
      readonly status: number;
      /** The first value of each header. */
      readonly headers: Readonly<Record<string, string | undefined>>;
      readonly body: Buffer;
      readonly certificate: X509Certificate | undefined;
    }
  | {
      readonly kind: 'unverified';
      /** The code of the verification error, such as CERT_HAS_EXPIRED. */
      readonly code: string;
      readonly certificate: X509Certificate | undefined;
    };

/**
 * Sends one GET without a credential, over a connection of its own, for a caller that does not know
 * yet what kind of server this is. Every HTTP status is a response. Follows no redirect.
 * @throws AgentError API_* without a response; ABORTED when the signal fires
 */
export async function getOnce(request: SingleGet): Promise<SingleResponse> {
  const { access, path, signal, limitMs } = request;
  const what = `get ${path}`;
  let certificate: X509Certificate | undefined;
  const end = new AbortController();
  using deadline = new Deadline({ clock: request.clock, ms: limitMs, signal, what });
  const dispatcher = await openDispatcher(access, limitMs, {
    signal: AbortSignal.any([end.signal, deadline.signal]),
    onCertificate: (shown) => {
      certificate = shown;
    },
  });
  // undici does not abort a request that still waits for a connection or a proxy.
  deadline.signal.addEventListener('abort', () => void dispatcher.destroy());
  try {
    const response = await send(dispatcher, request, deadline.signal);
    const limit = request.bodyBytes;
    const body = await readBody(response.body, { limit, what: `the response to ${what}` });
    return {
      kind: 'response',
      status: response.statusCode,
      headers: firstValues(response.headers),
      body,
      certificate,
    };
  } catch (error) {
    // The request may only have the error of a socket that the deadline has closed.
    const reason: unknown = deadline.signal.aborted ? deadline.signal.reason : error;
    const code = verificationCode(reason);
    if (code !== undefined) return { kind: 'unverified', code, certificate };
    throw transportError(reason, { request: what, access });
  } finally {
    end.abort();
    await dispatcher.destroy();
  }
}

function send(
  dispatcher: Dispatcher,
  { access, path, version }: SingleGet,
  signal: AbortSignal,
): Promise<Dispatcher.ResponseData> {
  const url = new URL(access.cluster.server);
  return undiciRequest.call(dispatcher, {
    origin: url.origin,
    path: `${url.pathname.replace(/\/$/, '')}${path}`,
    method: 'GET',
    headers: { accept: 'application/json', 'user-agent': `nodecertd/${version}` },
    signal,
  });
}

function firstValues(headers: Dispatcher.ResponseData['headers']): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => {
      const [first] = [value].flat();
      return first === undefined ? [] : [[name, first]];
    }),
  );
}
