import * as v from 'valibot';
import type { ErrorCode } from '../core/errors.ts';
import { AgentError } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { printable } from '../core/printable.ts';
import { parseRetryAfter } from '../core/timing.ts';
import {
  anonymousError,
  anonymousUser,
  nodeNameRemedy,
  otherNodeInMessage,
  userInMessage,
} from './api-user.ts';
import type { ClusterAccess } from './cluster-access.ts';

/** The fields of a meta/v1 Status that this program reads. */
export const statusSchema = v.object({
  kind: v.literal('Status'),
  apiVersion: v.literal('v1'),
  code: v.optional(v.number()),
  reason: v.optional(v.string()),
  message: v.optional(v.string()),
  details: v.optional(
    v.looseObject({
      name: v.optional(v.string()),
      kind: v.optional(v.string()),
      retryAfterSeconds: v.optional(v.number()),
    }),
  ),
});

type Status = v.InferOutput<typeof statusSchema>;

export interface FailedResponse {
  /** The verb and the path, `create /apis/…`, for messages. */
  readonly request: string;
  readonly path: string;
  readonly access: ClusterAccess;
  readonly httpStatus: number;
  /** The parsed body, if it is JSON. */
  readonly body: unknown;
  readonly retryAfter?: string | undefined;
  readonly now: Instant;
}

/** The AgentError for a response that is not a success. */
export function statusError(response: FailedResponse): AgentError {
  const parsed = v.safeParse(statusSchema, response.body);
  const status = parsed.success ? parsed.output : undefined;
  if (!isCredible(response, status)) return notAnApiServer(response, status);
  if (response.httpStatus === 403 && status !== undefined) return forbidden(response, status);
  const [code, remedy] = meaningOf(response);
  return failure(code, remedy, { response, status });
}

function failure(
  code: ErrorCode,
  remedy: string,
  { response, status }: { readonly response: FailedResponse; readonly status: Status | undefined },
): AgentError {
  const retryAfterMs =
    parseRetryAfter(response.retryAfter, response.now) ??
    parseRetryAfter(status?.details?.retryAfterSeconds, response.now);
  const message = `${response.request}: ${describe(response, status)}`;
  return new AgentError(code, message, {
    remedy,
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}

function describe({ httpStatus }: FailedResponse, status: Status | undefined): string {
  const texts = [status?.reason, status?.message].filter((text) => text !== undefined);
  return [
    `HTTP status ${httpStatus}`,
    ...texts.filter(Boolean).map((text) => printable(text)),
  ].join(', ');
}

/**
 * True if the response comes from an API server that understood the request. A load balancer, a
 * web server or a wrong path in the server's URL can also cause 401, 403, 404, 409 or 410, but
 * then the status does not describe an object, a credential or a permission. An overloaded API
 * server returns 429 in plain text, and a 5xx means the same from every server.
 */
function isCredible({ path, httpStatus }: FailedResponse, status: Status | undefined): boolean {
  if (httpStatus === 429 || httpStatus >= 500) return true;
  if (status === undefined) return false;
  if (httpStatus === 403) return !isUnknownPath(path, status);
  return httpStatus !== 404 || namesObjectOf(path, status);
}

/** For an unknown path, RBAC returns 403 before the API server can return 404. */
function isUnknownPath(path: string, { message = '' }: Status): boolean {
  return path.startsWith('/api') && / cannot [a-z]+ path "/.test(message);
}

function namesObjectOf(path: string, { details }: Status): boolean {
  const segments = path.split('/').map(decodeURIComponent);
  const { name, kind } = details ?? {};
  return (
    (name === undefined || segments.at(-1) === name) &&
    (kind === undefined || segments.includes(kind))
  );
}

function notAnApiServer(response: FailedResponse, status: Status | undefined): AgentError {
  const { request, access, httpStatus } = response;
  const { server } = access.cluster;
  const found =
    status === undefined
      ? `HTTP status ${httpStatus} without a Kubernetes Status`
      : describe(response, status);
  const message = `${request} at ${server}: this is not the URL of a Kubernetes API server: ${found}`;
  return new AgentError('API_BAD_RESPONSE', message, { remedy: serverRemedy(access) });
}

/** For a response that does not come from an API server. */
export function serverRemedy({ path }: ClusterAccess): string {
  return `Set server in ${path} to the URL of the Kubernetes API server, and check the path of that URL`;
}

function forbidden(response: FailedResponse, status: Status): AgentError {
  const { request, path, access } = response;
  const message = status.message ?? '';
  if (userInMessage(message) === anonymousUser) return anonymousError(request, access);
  const node = otherNodeInMessage(message, path);
  const remedy =
    node === undefined
      ? 'Bind a role with the permission in the message to the user in the message'
      : nodeNameRemedy(node);
  return failure('API_FORBIDDEN', remedy, { response, status });
}

const correctRequest = 'Read the message of the API server, and correct the configuration';

const meanings: Readonly<Record<number, readonly [ErrorCode, string]>> = {
  400: ['API_BAD_REQUEST', correctRequest],
  401: [
    'API_UNAUTHORIZED',
    'Check that the token or client certificate was issued by this cluster and has not expired',
  ],
  404: ['API_NOT_FOUND', 'Check that the object exists'],
  409: ['API_CONFLICT', 'Delete the other object of that name if nothing needs it'],
  410: ['API_GONE', 'Do nothing: nodecertd reads the object again'],
  422: ['API_BAD_REQUEST', correctRequest],
  429: ['API_THROTTLED', 'Do nothing: nodecertd retries after the delay that the API server sets'],
};

function meaningOf({ httpStatus, access }: FailedResponse): readonly [ErrorCode, string] {
  const known = meanings[httpStatus];
  if (known !== undefined) return known;
  if (httpStatus >= 500) return ['API_SERVER_ERROR', 'Read the log of the API server'];
  if (httpStatus >= 400) return ['API_BAD_REQUEST', correctRequest];
  // Only a redirect is left, and the API server does not redirect.
  return ['API_BAD_RESPONSE', serverRemedy(access)];
}
