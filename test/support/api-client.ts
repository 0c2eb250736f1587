import { setTimeout as delay } from 'node:timers/promises';
import { Agent } from 'undici';
import { scaled } from './machine-speed.ts';

export interface ApiClientOptions {
  readonly server: string;
  readonly caPem: string;
  readonly certificatePem?: string;
  readonly keyPem?: string;
  readonly token?: string;
  /** The user that requests impersonate; the credential needs the permission to do so. */
  readonly impersonate?: Impersonation;
}

export interface Impersonation {
  readonly user: string;
  readonly groups: readonly string[];
}

export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  /** Sent as JSON, or as a merge patch with PATCH. */
  readonly body?: unknown;
  /** Another user than that of the client, which must have one. */
  readonly impersonate?: Impersonation;
}

export interface ApiResponse {
  readonly status: number;
  readonly body: unknown;
}

/** A small Kubernetes client for tests, independent of the client under test. */
export class ApiClient implements AsyncDisposable {
  readonly #options: ApiClientOptions;
  readonly #agent: Agent;

  constructor(options: ApiClientOptions) {
    this.#options = options;
    this.#agent = new Agent({
      connect: { ca: options.caPem, cert: options.certificatePem, key: options.keyPem },
      // With HTTP/2, undici joins the groups of an impersonation into one.
      allowH2: options.impersonate === undefined,
      headersTimeout: scaled(30_000),
      bodyTimeout: 0,
    });
  }

  async request(request: ApiRequest): Promise<ApiResponse> {
    const response = await this.#send(request, AbortSignal.timeout(scaled(30_000)));
    const text = await response.body.text();
    const isJson = String(response.headers['content-type']).startsWith('application/json');
    return { status: response.statusCode, body: isJson ? (JSON.parse(text) as unknown) : text };
  }

  /** @throws unless the status is 2xx */
  async must(request: ApiRequest): Promise<unknown> {
    const { status, body } = await this.request(request);
    if (status >= 300) throw unexpected(request, { status, body });
    return body;
  }

  /** Repeats a request until the status is 2xx, because a starting API server fails at first. */
  async eventually(request: ApiRequest, signal: AbortSignal): Promise<unknown> {
    for (;;) {
      const answer = await this.request(request).catch((error: unknown) => error);
      if (isResponse(answer) && answer.status < 300) return answer.body;
      if (signal.aborted) {
        throw isResponse(answer) ? unexpected(request, answer) : (answer as Error);
      }
      await delay(25);
    }
  }

  /** Yields the events of a watch. */
  async *watch(path: string, signal: AbortSignal): AsyncGenerator {
    const response = await this.#send({ method: 'GET', path }, signal);
    let rest = '';
    for await (const chunk of response.body.setEncoding('utf8')) {
      const lines = (rest + String(chunk)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) yield JSON.parse(line) as unknown;
    }
  }

  async #send(
    { method, path, body, impersonate = this.#options.impersonate }: ApiRequest,
    signal: AbortSignal,
  ): ReturnType<Agent['request']> {
    const { server, token } = this.#options;
    const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
    return this.#agent.request({
      origin: server,
      path,
      method,
      signal,
      headers: {
        accept: 'application/json',
        ...(body !== undefined && { 'content-type': type }),
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...(impersonate !== undefined && {
          'impersonate-user': impersonate.user,
          'impersonate-group': [...impersonate.groups],
        }),
      },
      body: body === undefined ? null : JSON.stringify(body),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
  }
}

function isResponse(value: unknown): value is ApiResponse {
  return typeof value === 'object' && value !== null && 'status' in value && 'body' in value;
}

function unexpected(request: ApiRequest, { status, body }: ApiResponse): Error {
  return new Error(`${request.method} ${request.path}: ${status} ${JSON.stringify(body)}`);
}
