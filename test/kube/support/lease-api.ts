import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { json } from 'node:stream/consumers';
import type { Handler } from './api-server.ts';
import { sendJson, sendStatus } from './api-server.ts';

export interface LeaseObject {
  readonly metadata: {
    readonly name: string;
    readonly resourceVersion: string;
    readonly [more: string]: unknown;
  };
  readonly spec: Readonly<Record<string, unknown>>;
}

const collection = /^\/apis\/coordination\.k8s\.io\/v1\/namespaces\/([^/]+)\/leases(?:\/([^/]+))?$/;
const micro = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;

/**
 * Leases with the rules of the API server that clients depend on: names are unique, an update with
 * an outdated resourceVersion is a conflict, and times have six digits after the second.
 */
export class LeaseApi {
  readonly leases = new Map<string, LeaseObject>();
  /** Every state that a Lease has had, in order. */
  readonly history: LeaseObject[] = [];
  /** Called before each write, to answer it otherwise. Returns true if it has answered. */
  onWrite: (response: ServerResponse, body: LeaseObject) => boolean = () => false;
  #version = 0;

  /** False if the request is not about Leases. */
  readonly handle = (request: IncomingMessage, response: ServerResponse): boolean => {
    const [, namespace = '', name] = collection.exec(request.url ?? '') ?? [];
    if (namespace === '') return false;
    void this.#answer(request, response, { namespace, name });
    return true;
  };

  /** As another client would write it. */
  put(
    key: string,
    spec: Readonly<Record<string, unknown>>,
    more: Readonly<Record<string, unknown>> = {},
  ): void {
    const [, name = ''] = key.split('/');
    this.#version += 1;
    const object = {
      metadata: { uid: randomUUID(), ...more, name, resourceVersion: `${this.#version}` },
      spec,
    };
    this.leases.set(key, object);
    this.history.push(object);
  }

  async #answer(
    request: IncomingMessage,
    response: ServerResponse,
    { namespace, name }: { readonly namespace: string; readonly name: string | undefined },
  ): Promise<void> {
    if (request.method === 'GET') {
      const found = this.leases.get(`${namespace}/${name}`);
      if (found === undefined) return notFound(response, name);
      return sendJson(response, found);
    }
    const body = (await json(request)) as LeaseObject;
    if (this.onWrite(response, body)) return;
    const key = `${namespace}/${body.metadata.name}`;
    const current = this.leases.get(key);
    const { acquireTime, renewTime } = body.spec;
    if (![acquireTime, renewTime].every((time) => micro.test(String(time)))) {
      return sendStatus(response, 400, { reason: 'BadRequest', message: 'parsing time' });
    }
    if (request.method === 'POST' && current !== undefined) {
      return sendStatus(response, 409, { reason: 'AlreadyExists' });
    }
    if (request.method === 'PUT' && current === undefined) return notFound(response, name);
    if (
      request.method === 'PUT' &&
      current?.metadata.resourceVersion !== body.metadata.resourceVersion
    ) {
      return sendStatus(response, 409, { reason: 'Conflict' });
    }
    this.put(key, body.spec, body.metadata);
    sendJson(response, this.leases.get(key), request.method === 'POST' ? 201 : 200);
  }
}

function notFound(response: ServerResponse, name: string | undefined): void {
  sendStatus(response, 404, { reason: 'NotFound', details: { name, kind: 'leases' } });
}

/** Answers with the first of these that handles the request. */
export function handlers(
  ...all: readonly ((request: IncomingMessage, response: ServerResponse) => boolean)[]
): Handler {
  return (request, response) => {
    if (!all.some((handle) => handle(request, response))) notFound(response, undefined);
  };
}
