import type { ErrorCode } from '../../src/core/errors.ts';
import { AgentError } from '../../src/core/errors.ts';

/** metav1.Status as the API sends it in place of an object. */
export interface Status {
  readonly kind: 'Status';
  readonly apiVersion: 'v1';
  readonly metadata: object;
  readonly status: 'Failure' | 'Success';
  readonly message?: string;
  readonly reason?: StatusReason;
  readonly details?: StatusDetails;
  readonly code: number;
}

export interface StatusDetails {
  readonly name?: string;
  readonly group?: string;
  readonly kind?: string;
  readonly uid?: string;
  readonly causes?: readonly StatusCause[];
}

/** One field that is wrong; clients print `field: message`. */
export interface StatusCause {
  readonly reason: 'FieldValueInvalid' | 'FieldValueRequired' | 'FieldValueForbidden';
  readonly message: string;
  readonly field: string;
}

/** The reasons in use here with the HTTP status that belongs to each, and what it is to the rest of the program. */
const reasons = {
  BadRequest: { code: 400, error: 'API_BAD_REQUEST' },
  Unauthorized: { code: 401, error: 'API_UNAUTHORIZED' },
  Forbidden: { code: 403, error: 'API_FORBIDDEN' },
  NotFound: { code: 404, error: 'API_NOT_FOUND' },
  MethodNotAllowed: { code: 405, error: 'API_BAD_REQUEST' },
  AlreadyExists: { code: 409, error: 'API_CONFLICT' },
  Conflict: { code: 409, error: 'API_CONFLICT' },
  Expired: { code: 410, error: 'API_GONE' },
  RequestEntityTooLarge: { code: 413, error: 'API_BAD_REQUEST' },
  UnsupportedMediaType: { code: 415, error: 'API_BAD_REQUEST' },
  Invalid: { code: 422, error: 'API_BAD_REQUEST' },
  InternalError: { code: 500, error: 'API_SERVER_ERROR' },
} as const satisfies Readonly<Record<string, { code: number; error: ErrorCode }>>;

export type StatusReason = keyof typeof reasons;

/**
 * A refusal by the sandbox's API. Over HTTP it becomes a Status; to a caller in
 * the same process it is an AgentError like any other.
 */
export class StatusError extends AgentError {
  readonly status: Status;

  constructor(reason: StatusReason, message: string, details?: StatusDetails) {
    super(reasons[reason].error, message);
    this.status = {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message,
      reason,
      ...(details !== undefined && { details }),
      code: reasons[reason].code,
    };
  }
}

/** What the API answers to anything thrown; the text of an unexpected error stays inside. */
export function statusOf(error: unknown): Status {
  if (error instanceof StatusError) return error.status;
  return new StatusError('InternalError', 'Internal error occurred').status;
}

export function successStatus(details: StatusDetails): Status {
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details, code: 200 };
}
