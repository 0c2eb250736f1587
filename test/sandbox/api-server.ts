import type { IncomingMessage, ServerResponse } from 'node:http';
import * as v from 'valibot';
import type { Clock } from '../../src/sys/clock.ts';
import type { ApiObject, CsrObject, NodeObject } from './api-object.ts';
import { csrResource, groupVersion } from './api-object.ts';
import type { AuditLog } from './audit-log.ts';
import type { Authenticator } from './authentication.ts';
import type { Approvals, User } from './authorization.ts';
import { anonymous, authorizePath, authorizeResource } from './authorization.ts';
import type { Registry } from './registry.ts';
import { createObject, deleteObject, getObject, updateObject } from './registry.ts';
import { readObject } from './request-body.ts';
import type { RequestInfo, ResourceRequest } from './request-info.ts';
import { parseRequest } from './request-info.ts';
import { answerReview, pluralOf } from './reviews.ts';
import { StatusError, statusOf, successStatus } from './status-error.ts';
import type { BootstrapToken } from './token-secret.ts';
import { readTokenSecret } from './token-secret.ts';
import { streamWatch, watchParameters } from './watch-stream.ts';

export interface ApiServerOptions {
  readonly clock: Clock;
  readonly authenticator: Authenticator;
  readonly csrs: Registry<CsrObject>;
  readonly nodes: Registry<NodeObject>;
  readonly bootstrap: BootstrapToken;
  /** A function, because bindings change. */
  readonly approvals: () => Approvals;
  readonly audit: AuditLog;
  readonly maxBodyBytes: number;
  /** Receives unexpected errors. The client only sees "Internal error". */
  readonly onInternalError: (error: unknown) => void;
}

interface Answer {
  readonly code: number;
  readonly body: object | string;
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly info: RequestInfo;
  user: User;
  /** Set by a create, which has no name in its URL. */
  createdName?: string;
}

/** Answers requests: authenticates, authorizes, and then acts. */
export class ApiServer {
  readonly #options: ApiServerOptions;

  constructor(options: ApiServerOptions) {
    this.#options = options;
  }

  /**
   * Settles when the response is complete. A watch ends at the latest with the signal.
   * Never rejects.
   */
  async handle(
    request: IncomingMessage,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    const info = parseRequest(request.method ?? '', request.url ?? '');
    const exchange: Exchange = { request, response, info, user: anonymous };
    // Clients compare their clock with this header, and Node would set it from this
    // machine's clock.
    response.setHeader('date', new Date(this.#options.clock.now()).toUTCString());
    try {
      exchange.user = await this.#options.authenticator.authenticate(request);
      const resource = this.#authorized(exchange);
      if (resource?.verb === 'watch') await this.#watch(exchange, resource, signal);
      else this.#send(exchange, await this.#answer(exchange, resource));
    } catch (error) {
      this.#fail(exchange, error);
    }
  }

  /**
   * Returns the request for objects, or undefined for other requests.
   * @throws StatusError NotFound, MethodNotAllowed, BadRequest or Forbidden
   */
  #authorized({ info, user, request }: Exchange): ResourceRequest | undefined {
    const verdict =
      info.kind === 'resource' ? authorizeResource(user, info) : authorizePath(user, info.path);
    if (!verdict.ok) {
      throw new StatusError(
        'Forbidden',
        verdict.message,
        info.kind === 'resource'
          ? {
              ...(info.name !== undefined && { name: info.name }),
              group: info.resource.group,
              kind: info.resource.plural,
            }
          : {},
      );
    }
    switch (info.kind) {
      case 'resource':
        return info;
      case 'path':
      case 'review':
      case 'secret':
        return undefined;
      case 'not-found':
        throw new StatusError('NotFound', 'the server could not find the requested resource');
      case 'method-not-allowed':
        throw new StatusError(
          'MethodNotAllowed',
          `the server does not allow ${request.method} on ${info.path}`,
        );
      case 'bad-request':
        throw new StatusError('BadRequest', info.problem);
      default:
        return info satisfies never;
    }
  }

  async #answer(exchange: Exchange, resource: ResourceRequest | undefined): Promise<Answer> {
    if (resource !== undefined) {
      return resource.resource === csrResource
        ? this.#perform(exchange, resource, this.#options.csrs)
        : this.#perform(exchange, resource, this.#options.nodes);
    }
    const { info, user, request } = exchange;
    const { bootstrap, approvals, clock, maxBodyBytes } = this.#options;
    if (info.kind === 'secret') {
      const body = readTokenSecret(info.name, { user, bootstrap, now: clock.now() });
      return { code: 200, body };
    }
    if (info.kind === 'review') {
      const asked = await readObject(request, maxBodyBytes);
      return {
        code: 201,
        body: answerReview(info.review, asked, { user, approvals: approvals() }),
      };
    }
    return { code: 200, body: info.kind === 'path' && info.path === '/version' ? version : 'ok' };
  }

  async #perform<T extends ApiObject>(
    exchange: Exchange,
    asked: ResourceRequest,
    registry: Registry<T>,
  ): Promise<Answer> {
    const { request, user } = exchange;
    const { maxBodyBytes: limit } = this.#options;
    const { name = '', subresource } = asked;
    switch (asked.verb) {
      case 'create': {
        const created = await createObject(registry, await readObject(request, limit), user);
        exchange.createdName = created.metadata.name;
        return { code: 201, body: created };
      }
      case 'get':
        return { code: 200, body: getObject(registry, name) };
      case 'list':
      case 'watch':
        return { code: 200, body: listOf(registry, asked.name) };
      case 'update': {
        const body = await readObject(request, limit);
        return { code: 200, body: updateObject(registry, { name, body, subresource }) };
      }
      case 'delete': {
        const meant = parsePreconditions((await readObject(request, limit)) ?? {});
        const { metadata } = deleteObject(registry, name, meant);
        const { group, plural: kind } = registry.resource;
        return { code: 200, body: successStatus({ name, group, kind, uid: metadata.uid }) };
      }
      default:
        return asked.verb satisfies never;
    }
  }

  async #watch(exchange: Exchange, asked: ResourceRequest, signal: AbortSignal): Promise<void> {
    const { csrs, nodes, clock } = this.#options;
    const { response } = exchange;
    const { resource } = asked;
    const parameters = watchParameters(asked.query, asked.name);
    this.#record(exchange, 200);
    const common = { resource, parameters, response, clock };
    await (resource === csrResource
      ? streamWatch({ ...common, store: csrs.store }, signal)
      : streamWatch({ ...common, store: nodes.store }, signal));
  }

  #fail(exchange: Exchange, error: unknown): void {
    const { request, response } = exchange;
    // The client has disconnected, so there is no response to send.
    if (response.destroyed || request.errored) return;
    const status = statusOf(error);
    if (status.code === 500) this.#options.onInternalError(error);
    if (response.headersSent) {
      response.destroy();
      return;
    }
    // Closes the connection, because the rest of the body stays unread.
    if (status.code === 413) response.setHeader('connection', 'close');
    this.#send(exchange, { code: status.code, body: status });
  }

  #send(exchange: Exchange, { code, body }: Answer): void {
    this.#record(exchange, code);
    const { response } = exchange;
    const text = typeof body === 'string' ? body : `${JSON.stringify(body)}\n`;
    response.writeHead(code, {
      'content-type': typeof body === 'string' ? 'text/plain; charset=utf-8' : 'application/json',
      'content-length': Buffer.byteLength(text),
    });
    response.end(text);
  }

  #record(exchange: Exchange, code: number): void {
    const { info, user, request } = exchange;
    const asked = info.kind === 'resource' ? info : undefined;
    this.#options.audit.record({
      user: user.username,
      verb: asked?.verb ?? verbOf(info, request),
      resource: asked?.resource.plural ?? resourceOf(info),
      subresource: asked?.subresource,
      name: asked?.name ?? exchange.createdName,
      code,
    });
  }
}

/** The release whose rules the sandbox follows. */
const version = {
  major: '1',
  minor: '37',
  gitVersion: 'v1.37.0+nodecertd-sandbox',
  platform: 'linux/amd64',
};

function listOf<T extends ApiObject>({ resource, store }: Registry<T>, name?: string): object {
  const objects = store.list();
  return {
    kind: `${resource.kind}List`,
    apiVersion: groupVersion(resource),
    metadata: { resourceVersion: String(store.revision) },
    items: name === undefined ? objects : objects.filter(({ metadata }) => metadata.name === name),
  };
}

function verbOf({ kind }: RequestInfo, { method }: IncomingMessage): string {
  return kind === 'review' ? 'create' : (method ?? '').toLowerCase();
}

/** The resource as audit logs name it, or the path if there is none. */
function resourceOf(info: RequestInfo): string {
  if (info.kind === 'resource') return info.resource.plural;
  if (info.kind === 'review') return pluralOf(info.review);
  return info.kind === 'secret' ? 'secrets' : info.path;
}

const deleteOptionsSchema = v.object({
  preconditions: v.nullish(
    v.object({ uid: v.nullish(v.string()), resourceVersion: v.nullish(v.string()) }),
  ),
});

function parsePreconditions(body: unknown): {
  uid?: string | undefined;
  resourceVersion?: string | undefined;
} {
  const parsed = v.safeParse(deleteOptionsSchema, body);
  if (!parsed.success) {
    throw new StatusError('BadRequest', `invalid DeleteOptions: ${v.summarize(parsed.issues)}`);
  }
  const { uid, resourceVersion } = parsed.output.preconditions ?? {};
  return { uid: uid ?? undefined, resourceVersion: resourceVersion ?? undefined };
}
