import * as v from 'valibot';
import type { ErrorCode } from '../core/errors.ts';
import { AgentError } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { hour, second } from '../core/instant.ts';
import { printable } from '../core/printable.ts';

/** `Status` of meta/v1, as far as it is looked at; servers between us and the API may answer anything. */
export const statusSchema = v.object({
  kind: v.literal('Status'),
  code: v.optional(v.number()),
  reason: v.optional(v.string()),
  message: v.optional(v.string()),
  details: v.optional(v.looseObject({ retryAfterSeconds: v.optional(v.number()) })),
});

export interface FailedAnswer {
  /** `create /apis/…`: what was asked. */
  readonly request: string;
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
  const [code, remedy] = meaningOf(answer.httpStatus);
  const retryAfterMs =
    parseRetryAfter(answer.retryAfter, answer.now) ??
    fromSeconds(status?.details?.retryAfterSeconds);
  const told = [status?.reason, status?.message]
    .filter(Boolean)
    .map((text) => printable(text ?? ''));
  return new AgentError(
    code,
    [`${answer.request}: HTTP status ${answer.httpStatus}`, ...told].join(', '),
    { remedy, ...(retryAfterMs !== undefined && { retryAfterMs }) },
  );
}

const meanings: Readonly<Record<number, readonly [ErrorCode, string]>> = {
  400: [
    'API_BAD_REQUEST',
    'Read what the server found wrong with the request and correct the configuration',
  ],
  401: [
    'API_UNAUTHORIZED',
    'Check that the token or client certificate was issued by this cluster and has not expired',
  ],
  403: ['API_FORBIDDEN', 'Bind a role that allows what the message names to the user it names'],
  404: [
    'API_NOT_FOUND',
    'Check that the object exists and that the server URL is that of an API server',
  ],
  409: ['API_CONFLICT', 'Delete the other object of that name if nothing needs it'],
  410: ['API_GONE', 'Nothing to do: what is watched is read anew'],
  422: [
    'API_BAD_REQUEST',
    'Read what the server found wrong with the request and correct the configuration',
  ],
  429: ['API_THROTTLED', 'Nothing to do: the request is repeated later, as the server asks'],
};

function meaningOf(httpStatus: number): readonly [ErrorCode, string] {
  const known = meanings[httpStatus];
  if (known !== undefined) return known;
  if (httpStatus >= 500) return ['API_SERVER_ERROR', 'See the log of the API server'];
  if (httpStatus >= 400) {
    return ['API_BAD_REQUEST', 'Check that the server URL is that of a Kubernetes API server'];
  }
  // 1xx never gets here, 2xx is a success; the API redirects nobody.
  return ['API_BAD_RESPONSE', 'Check that the server URL is that of a Kubernetes API server'];
}

/**
 * Retry-After in both forms of RFC 9110 10.2.3. An hour at most: nobody should be
 * able to silence the agent for longer with one header.
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
