import type { ErrorCode } from '../../src/core/errors.ts';
import { AgentError } from '../../src/core/errors.ts';

/** The metav1.Status that the API sends instead of an object. */
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

/** One invalid field. Clients print `field: message`. */
export interface StatusCause {
  readonly reason: 'FieldValueInvalid' | 'FieldValueRequired' | 'FieldValueForbidden';
  readonly message: string;
  readonly field: string;
}

/** The reasons that the sandbox uses, with the HTTP status and the error code of each. */
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
 * An error of the sandbox's API. HTTP clients get a Status, and callers in the same
 * process an AgentError.
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

/** Returns the Status for a thrown value, without the text of an unexpected error. */
export function statusOf(error: unknown): Status {
  if (error instanceof StatusError) return error.status;
  return new StatusError('InternalError', 'Internal error occurred').status;
}

export function successStatus(details: StatusDetails): Status {
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details, code: 200 };
}
