import type { Failure } from './errors.ts';
import type { Instant } from './instant.ts';
import { formatInstant } from './instant.ts';

/** What came of a look at all endpoints of a certificate. */
export type ServedOutcome =
  | { readonly kind: 'looked'; readonly endpoints: readonly EndpointState[] }
  /** The disk holds another pair than the one that was asked about. */
  | { readonly kind: 'overtaken' }
  | { readonly kind: 'failed'; readonly failure: Failure };

/** What one endpoint serves, by the name that the configuration has for it. */
export type EndpointState =
  | { readonly endpoint: string; readonly state: 'current' }
  | {
      readonly endpoint: string;
      readonly state: 'other';
      readonly serial: string;
      readonly notAfter: Instant;
    }
  | { readonly endpoint: string; readonly state: 'unreachable'; readonly reason: string };

/** In a few words, for logs and people. */
export function describeEndpoint(endpoint: EndpointState): string {
  switch (endpoint.state) {
    case 'current':
      return `${endpoint.endpoint} serves it`;
    case 'other':
      return `${endpoint.endpoint} serves another one, serial ${endpoint.serial}, valid until ${formatInstant(endpoint.notAfter)}`;
    case 'unreachable':
      return `${endpoint.endpoint} shows no certificate: ${endpoint.reason}`;
    default:
      return endpoint satisfies never;
  }
}

/** What is to be said of a certificate that is not served everywhere. */
export function staleFailure(
  serial: string,
  endpoints: readonly EndpointState[],
  within?: string,
): Failure {
  const others = endpoints.filter(({ state }) => state !== 'current').map(describeEndpoint);
  const time = within === undefined ? '' : ` within ${within}`;
  return {
    code: 'SERVED_STALE',
    message: `the certificate on disk, serial ${serial}, was not found served${time}: ${others.join('; ')}`,
    remedy: 'see the log of the server and the hooks before this line, then reload or restart it',
  };
}

/** What is said where the agent goes on resting on the pair that an earlier run has gone back to. */
export function goneBackFailure(certificate: string, from: string): Failure {
  return {
    code: 'SERVED_STALE',
    message: `the certificate with serial ${from} was not found served, and the one before it is in place again`,
    remedy: goneBackRemedy(certificate),
  };
}

export function goneBackRemedy(certificate: string): string {
  return `mend what keeps the server from the new certificate, then: nodecertd renew ${certificate}`;
}
