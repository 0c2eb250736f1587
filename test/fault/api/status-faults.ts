import { verbIs } from '../../support/fault-proxy.ts';
import type { ErrorCode } from '../../../src/core/errors.ts';
import { second } from '../../../src/core/instant.ts';
import { answerStatus } from './answers.ts';
import type { ApiFault } from './fault.ts';
import { requests, served } from './fault.ts';

/** Seconds. */
const askedFor = 4;

/** Responses of the API server itself. */
export const statusFaults: readonly ApiFault[] = [
  status(401, 'Unauthorized', 'API_UNAUTHORIZED'),
  status(403, 'Forbidden', 'API_FORBIDDEN'),
  { ...status(404, 'NotFound', 'API_NOT_FOUND'), places: ['create'] },
  {
    ...status(409, 'AlreadyExists', 'API_NOT_FOUND'),
    name: '409 for a name that does not exist',
    places: ['create'],
  },
  status(429, 'TooManyRequests', 'API_THROTTLED'),
  {
    name: '429 with Retry-After in seconds',
    places: requests,
    codes: ['API_THROTTLED'],
    asked: askedFor,
    meets: 2,
    ...served(async (exchange) => {
      const headers = { 'retry-after': String(askedFor) };
      answerStatus(exchange, { code: 429, reason: 'TooManyRequests', headers });
    }),
  },
  {
    name: '429 with Retry-After as a date',
    places: requests,
    codes: ['API_THROTTLED'],
    // An HTTP date has whole seconds.
    asked: askedFor - 1,
    meets: 2,
    begin: ({ proxy, place, agentNow }) => {
      proxy.set({
        meets: place === 'create' ? verbIs('create') : verbIs('watch', 'get'),
        serve: async (exchange) => {
          const moment = new Date(agentNow() + askedFor * second).toUTCString();
          const headers = { 'retry-after': moment };
          answerStatus(exchange, { code: 429, reason: 'TooManyRequests', headers });
        },
      });
    },
  },
  status(500, 'InternalError', 'API_SERVER_ERROR'),
  status(503, 'ServiceUnavailable', 'API_SERVER_ERROR'),
];

function status(code: number, reason: string, errorCode: ErrorCode): ApiFault {
  return {
    name: String(code),
    places: requests,
    codes: [errorCode],
    ...served(async (exchange) => answerStatus(exchange, { code, reason })),
  };
}
