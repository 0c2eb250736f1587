import * as v from 'valibot';
import type { ErrorCode } from '../core/errors.ts';
import { AgentError } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { hour, second } from '../core/instant.ts';
import { printable } from '../core/printable.ts';
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

export interface FailedAnswer {
  /** The verb and the path, `create /apis/…`, for messages. */
  readonly request: string;
  readonly path: string;
  readonly access: ClusterAccess;
  readonly httpStatus: number;
  /** The parsed body, if it was JSON. */
  readonly body: unknown;
  readonly retryAfter?: string | undefined;
  readonly now: Instant;
}

/** The typed form of an answer that is not a success. */
export function statusError(answer: FailedAnswer): AgentError {
  const parsed = v.safeParse(statusSchema, answer.body);
  const status = parsed.success ? parsed.output : undefined;
  if (!isCredible(answer, status)) return notTheApiServer(answer, status);
  if (answer.httpStatus === 403 && status !== undefined) return forbidden(answer, status);
  const [code, remedy] = meaningOf(answer);
  return failure(code, remedy, { answer, status });
}

function failure(
  code: ErrorCode,
  remedy: string,
  { answer, status }: { readonly answer: FailedAnswer; readonly status: Status | undefined },
): AgentError {
  const retryAfterMs =
    parseRetryAfter(answer.retryAfter, answer.now) ??
    fromSeconds(status?.details?.retryAfterSeconds);
  const message = `${answer.request}: ${describe(answer, status)}`;
  return new AgentError(code, message, {
    remedy,
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}

function describe({ httpStatus }: FailedAnswer, status: Status | undefined): string {
  const texts = [status?.reason, status?.message].filter((text) => text !== undefined);
  return [
    `HTTP status ${httpStatus}`,
    ...texts.filter(Boolean).map((text) => printable(text)),
  ].join(', ');
}

/**
 * Whether the answer comes from an API server that understood the request. A load balancer,
 * a web server or a wrong path in the server's URL answers 401, 403, 404, 409 or 410 as well,
 * and says nothing about objects, credentials or permissions. An overloaded API server
 * answers 429 in plain text, and a 5xx means the same from every server.
 */
function isCredible({ path, httpStatus }: FailedAnswer, status: Status | undefined): boolean {
  if (httpStatus === 429 || httpStatus >= 500) return true;
  if (status === undefined) return false;
  if (httpStatus === 403) return !isUnknownPath(path, status);
  return httpStatus !== 404 || namesObjectOf(path, status);
}

/** RBAC refuses a path that the API server does not know before the server can answer 404. */
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

function notTheApiServer(answer: FailedAnswer, status: Status | undefined): AgentError {
  const { request, access, httpStatus } = answer;
  const { server } = access.cluster;
  const found =
    status === undefined
      ? `HTTP status ${httpStatus} without a Kubernetes Status`
      : describe(answer, status);
  const message = `${request} at ${server}: this is not the URL of a Kubernetes API server: ${found}`;
  return new AgentError('API_BAD_RESPONSE', message, { remedy: serverRemedy(access) });
}

/** For an answer that an API server would not give. */
export function serverRemedy({ path }: ClusterAccess): string {
  return `Set server in ${path} to the URL of the Kubernetes API server, and check its path`;
}

function forbidden(answer: FailedAnswer, status: Status): AgentError {
  const { request, path, access } = answer;
  const message = status.message ?? '';
  if (userInMessage(message) === anonymousUser) return anonymousError(request, access);
  const node = otherNodeInMessage(message, path);
  const remedy =
    node === undefined
      ? 'Bind a role with the permission in the message to the user in the message'
      : nodeNameRemedy(node);
  return failure('API_FORBIDDEN', remedy, { answer, status });
}

const correctRequest =
  'Read what the server found wrong with the request and correct the configuration';

const meanings: Readonly<Record<number, readonly [ErrorCode, string]>> = {
  400: ['API_BAD_REQUEST', correctRequest],
  401: [
    'API_UNAUTHORIZED',
    'Check that the token or client certificate was issued by this cluster and has not expired',
  ],
  404: ['API_NOT_FOUND', 'Check that the object exists'],
  409: ['API_CONFLICT', 'Delete the other object of that name if nothing needs it'],
  410: ['API_GONE', 'Nothing to do: the object is read again'],
  422: ['API_BAD_REQUEST', correctRequest],
  429: ['API_THROTTLED', 'Nothing to do: the request is repeated later, as the server asks'],
};

function meaningOf({ httpStatus, access }: FailedAnswer): readonly [ErrorCode, string] {
  const known = meanings[httpStatus];
  if (known !== undefined) return known;
  if (httpStatus >= 500) return ['API_SERVER_ERROR', 'Read the log of the API server'];
  if (httpStatus >= 400) return ['API_BAD_REQUEST', correctRequest];
  // 2xx is a success, 1xx never gets here, and the API server does not redirect.
  return ['API_BAD_RESPONSE', serverRemedy(access)];
}

/**
 * Retry-After in both forms of RFC 9110 10.2.3. At most an hour: one header must not
 * silence the agent for longer.
 */
export function parseRetryAfter(value: string | undefined, now: Instant): number | undefined {
  if (value === undefined) return undefined;
  if (/^\s*\d+\s*$/.test(value)) return fromSeconds(Number(value));
  const moment = Date.parse(value);
  return Number.isNaN(moment) ? undefined : clamp(moment - now);
}

function fromSeconds(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : clamp(seconds * second);
}

function clamp(ms: number): number {
  return Math.min(Math.max(ms, 0), hour);
}
