import { setImmediate } from 'node:timers/promises';
import type { Dispatcher } from 'undici';
import undiciRequest from 'undici/lib/api/api-request.js';
import * as v from 'valibot';
import type { ApiRequestRecord } from '../core/enroller-protocol.ts';
import { AgentError } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { second } from '../core/instant.ts';
import type { Clock } from '../sys/clock.ts';
import { badResponse, parseIfJson, parseJson, readBody } from './body.ts';
import type { ClusterAccess } from './cluster-access.ts';
import { aborted, Deadline } from './deadline.ts';
import { Session } from './session.ts';
import { statusError } from './status-error.ts';
import { transportError } from './transport-error.ts';
import type { WholeResponse } from './whole-response.ts';
import { wholeResponse } from './whole-response.ts';

export interface KubeClientOptions {
  readonly access: ClusterAccess;
  /** The version of this program, for the User-Agent. */
  readonly version: string;
  readonly clock: Clock;
  readonly limits?: Partial<ClientLimits>;
  /** Called at the end of each request and each watch. */
  readonly onRequest?: (record: ApiRequestRecord) => void;
  /** Called with the Date header of each response, which has whole seconds. */
  readonly onDate?: (serverTime: Instant) => void;
}

export interface ClientLimits {
  /** For TCP and TLS together. */
  readonly connectMs: number;
  /** From the call to the last byte of the response, or to the first byte of a watch. */
  readonly requestMs: number;
  readonly bodyBytes: number;
}

const defaultLimits: ClientLimits = {
  connectMs: 10 * second,
  requestMs: 30 * second,
  bodyBytes: 4 * 1024 * 1024,
};

export interface ApiRequest {
  readonly verb: Exclude<ApiRequestRecord['verb'], 'watch'>;
  /** Appended to the server's URL; with a leading slash, and names encoded. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  /** Sent as JSON; with the verb `patch`, as a JSON merge patch (RFC 7386). */
  readonly body?: unknown;
  /** The media type of the response; JSON if absent. */
  readonly accept?: string;
  /** The longest response; the limit of the client if absent. */
  readonly bodyBytes?: number;
  readonly signal: AbortSignal;
}

export interface StreamRequest extends Pick<ApiRequest, 'path' | 'query' | 'signal'> {
  /** After this time, the stream ends with API_TIMEOUT. */
  readonly limitMs: number;
  /** Called when the server accepts the request. */
  readonly onOpen?: () => void;
}

/** The description of a request in errors. */
interface RequestLabel {
  /** The verb and the path. */
  readonly what: string;
  readonly path: string;
}

const methods = {
  create: 'POST',
  get: 'GET',
  list: 'GET',
  watch: 'GET',
  update: 'PUT',
  patch: 'PATCH',
  delete: 'DELETE',
} as const satisfies Record<ApiRequestRecord['verb'], string>;

/**
 * A client for one API server with one identity. A new identity needs a new client with its own
 * connections.
 */
export class KubeClient implements AsyncDisposable {
  readonly access: ClusterAccess;
  readonly #options: KubeClientOptions;
  readonly #limits: ClientLimits;
  readonly #session: Session;
  readonly #closing = new AbortController();
  #closed: Promise<void> | undefined;
  readonly #pending = new Set<Promise<unknown>>();

  private constructor(options: KubeClientOptions, session: Session) {
    this.access = options.access;
    this.#options = options;
    this.#limits = { ...defaultLimits, ...options.limits };
    this.#session = session;
  }

  /**
   * Connects with the first request, not before.
   * @throws AgentError KUBECONFIG_INVALID, API_UNREACHABLE for a proxy that cannot be used
   */
  static async open(options: KubeClientOptions): Promise<KubeClient> {
    const connectMs = options.limits?.connectMs ?? defaultLimits.connectMs;
    const { access, clock } = options;
    return new KubeClient(options, await Session.open({ access, clock, connectMs }));
  }

  /**
   * Obtains the credential without sending a request. Each request also does this by itself.
   * @throws AgentError PLUGIN_FAILED, ABORTED
   */
  async authenticate(signal: AbortSignal): Promise<void> {
    await this.#session.ready(signal);
  }

  /**
   * Sends one request, and reads and parses the whole response.
   * @throws AgentError API_*; ABORTED when the signal fires or the client was closed
   */
  async request<T>(request: ApiRequest, schema: v.GenericSchema<unknown, T>): Promise<T> {
    const what = `${request.verb} ${request.path}`;
    const work = this.#exchange(request, (response) => {
      this.#requireSuccess({ what, path: request.path }, response);
      return parseResponse(schema, parseJson(response.bytes, what), what);
    });
    return this.#tracked(work);
  }

  /**
   * Reads a path that answers in plain text, such as /readyz. Every HTTP status is an answer.
   * @throws AgentError API_* without an answer; ABORTED when the signal fires
   */
  async text(
    request: Pick<ApiRequest, 'path' | 'signal'>,
  ): Promise<{ readonly status: number; readonly text: string }> {
    const work = this.#exchange({ ...request, verb: 'get' }, ({ statusCode, bytes }) => ({
      status: statusCode,
      text: bytes.toString(),
    }));
    return this.#tracked(work);
  }

  async #tracked<T>(work: Promise<T>): Promise<T> {
    this.#pending.add(work);
    try {
      return await work;
    } finally {
      this.#pending.delete(work);
    }
  }

  /** Sends one request, and reads the whole response. */
  async #exchange<T>(request: ApiRequest, read: (response: WholeResponse) => T): Promise<T> {
    const what = `${request.verb} ${request.path}`;
    using exchange = this.#begin(request.verb, { what, signal: request.signal });
    try {
      this.#closing.signal.throwIfAborted();
      await this.#session.ready(request.signal);
      using deadline = this.#deadline(what, this.#limits.requestMs, request.signal);
      const response = await wholeResponse(
        this.#session.dispatcher,
        await this.#dispatchOptions(request),
        {
          limit: request.bodyBytes ?? this.#limits.bodyBytes,
          what: `the response to ${what}`,
          signal: deadline.signal,
        },
      );
      this.#noteDate(response);
      exchange.code = String(response.statusCode);
      // undici counts a connection as busy until the event loop turn after the last byte. A
      // request in the same turn (the watch after the POST) would open a second connection.
      await setImmediate();
      return read(response);
    } catch (error) {
      throw exchange.fail(error);
    }
  }

  /**
   * The body of a watch, as it arrives. The first read sends the request. When the caller stops
   * reading, the watch ends.
   */
  async *stream(request: StreamRequest): AsyncGenerator<Uint8Array, void, void> {
    const what = `watch ${request.path}`;
    const signal = AbortSignal.any([request.signal, this.#closing.signal]);
    using exchange = this.#begin('watch', { what, signal });
    try {
      await this.#session.ready(signal);
      using deadline = this.#deadline(what, this.#limits.requestMs, signal);
      const response = await undiciRequest.call(this.#session.dispatcher, {
        ...(await this.#dispatchOptions({ ...request, verb: 'watch' })),
        signal: deadline.signal,
      });
      this.#noteDate(response);
      exchange.code = String(response.statusCode);
      if (response.statusCode !== 200)
        await this.#refuseStream({ what, path: request.path }, response);
      deadline.restart(request.limitMs);
      request.onOpen?.();
      yield* response.body;
    } catch (error) {
      throw exchange.fail(error);
    }
  }

  /**
   * Ends the watches, lets requests finish and closes the connections. An open watch would
   * continue with the old certificate.
   */
  close(): Promise<void> {
    this.#closed ??= this.#drain();
    return this.#closed;
  }

  async #drain(): Promise<void> {
    this.#closing.abort(new AgentError('ABORTED', 'the client was closed'));
    // The dispatcher waits only for requests that it already has, and a request may still be reading its token.
    await Promise.allSettled(this.#pending);
    await this.#session.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #refuseStream(label: RequestLabel, response: Dispatcher.ResponseData): Promise<never> {
    const limit = this.#limits.bodyBytes;
    const bytes = await readBody(response.body, { limit, what: `the response to ${label.what}` });
    this.#requireSuccess(label, { ...response, bytes });
    throw badResponse(`${label.what}: HTTP status ${response.statusCode}, expected 200`);
  }

  async #dispatchOptions(
    request: Omit<ApiRequest, 'verb'> & Pick<ApiRequestRecord, 'verb'>,
  ): Promise<Dispatcher.DispatchOptions & { readonly origin: string }> {
    const url = new URL(this.access.cluster.server);
    const query = new URLSearchParams(request.query).toString();
    return {
      origin: url.origin,
      path: `${url.pathname.replace(/\/$/, '')}${request.path}${query && `?${query}`}`,
      method: methods[request.verb],
      headers: {
        accept: request.accept ?? 'application/json',
        'user-agent': `nodecertd/${this.#options.version}`,
        ...(await this.#session.headers()),
        ...(request.body !== undefined && { 'content-type': contentType(request.verb) }),
      },
      ...(request.body !== undefined && { body: JSON.stringify(request.body) }),
    };
  }

  #noteDate({ headers }: Pick<WholeResponse, 'headers'>): void {
    const date = Date.parse(String(headers['date']));
    if (!Number.isNaN(date)) this.#options.onDate?.(date);
  }

  #requireSuccess(
    { what, path }: RequestLabel,
    { statusCode, headers, bytes }: WholeResponse,
  ): void {
    if (statusCode >= 200 && statusCode < 300) return;
    const error = statusError({
      request: what,
      path,
      access: this.access,
      httpStatus: statusCode,
      body: parseIfJson(bytes),
      retryAfter: [headers['retry-after']].flat()[0],
      now: this.#options.clock.now(),
    });
    if (error.code === 'API_UNAUTHORIZED') this.#session.invalidate();
    throw error;
  }

  #deadline(what: string, ms: number, signal: AbortSignal): Deadline {
    return new Deadline({ clock: this.#options.clock, ms, signal, what });
  }

  #begin(
    verb: ApiRequestRecord['verb'],
    { what, signal }: { readonly what: string; readonly signal: AbortSignal },
  ): Exchange {
    return new Exchange(verb, {
      toError: (error) =>
        signal.aborted
          ? aborted(what, signal)
          : transportError(error, { request: what, access: this.access }),
      ...(this.#options.onRequest !== undefined && { onRequest: this.#options.onRequest }),
    });
  }
}

function contentType(verb: ApiRequestRecord['verb']): string {
  return verb === 'patch' ? 'application/merge-patch+json' : 'application/json';
}

interface ExchangeOptions {
  readonly toError: (error: unknown) => AgentError;
  readonly onRequest?: (record: ApiRequestRecord) => void;
}

/** Records one request when it is over. */
class Exchange implements Disposable {
  /** The HTTP status, once there is a response. */
  code: string | undefined;
  readonly #verb: ApiRequestRecord['verb'];
  readonly #options: ExchangeOptions;
  readonly #start = performance.now();

  constructor(verb: ApiRequestRecord['verb'], options: ExchangeOptions) {
    this.#verb = verb;
    this.#options = options;
  }

  fail(error: unknown): AgentError {
    const failure = this.#options.toError(error);
    this.code ??= failure.code;
    return failure;
  }

  [Symbol.dispose](): void {
    this.#options.onRequest?.({
      verb: this.#verb,
      code: this.code ?? 'ABORTED',
      seconds: (performance.now() - this.#start) / 1000,
    });
  }
}

/** @throws AgentError API_BAD_RESPONSE with the field, without its value */
export function parseResponse<T>(
  schema: v.GenericSchema<unknown, T>,
  value: unknown,
  what: string,
): T {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const place = v.getDotPath(issue) ?? 'the response';
  throw badResponse(
    `the response to ${what} does not match the API: ${place} must be ${issue.expected ?? 'valid'}`,
  );
}
