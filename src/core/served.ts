import type { Failure } from './errors.ts';
import type { Instant } from './instant.ts';
import { formatInstant } from './instant.ts';

/** The result of a check of all endpoints of a certificate. */
export type ServedOutcome =
  | { readonly kind: 'checked'; readonly endpoints: readonly EndpointState[] }
  /** Another key pair was linked in the meantime. */
  | { readonly kind: 'replaced' }
  | { readonly kind: 'failed'; readonly failure: Failure };

/** The certificate that one endpoint serves. `endpoint` is the name in the configuration. */
export type EndpointState =
  | { readonly endpoint: string; readonly state: 'current' }
  | {
      readonly endpoint: string;
      readonly state: 'other';
      readonly serial: string;
      readonly notAfter: Instant;
    }
  | { readonly endpoint: string; readonly state: 'unreachable'; readonly reason: string };

export function describeEndpoint(endpoint: EndpointState): string {
  switch (endpoint.state) {
    case 'current':
      return `${endpoint.endpoint} serves the certificate`;
    case 'other':
      return `${endpoint.endpoint} serves another certificate (serial ${endpoint.serial}, valid until ${formatInstant(endpoint.notAfter)})`;
    case 'unreachable':
      return `${endpoint.endpoint} serves no certificate: ${endpoint.reason}`;
    default:
      return endpoint satisfies never;
  }
}

export function staleFailure(
  serial: string,
  endpoints: readonly EndpointState[],
  within?: string,
): Failure {
  const others = endpoints.filter(({ state }) => state !== 'current').map(describeEndpoint);
  const time = within === undefined ? '' : ` after ${within}`;
  return {
    code: 'SERVED_STALE',
    message: `the certificate on disk (serial ${serial}) is not served${time}: ${others.join('; ')}`,
    remedy:
      'Read the log of the server and the hook lines before this one, then reload or restart the server',
  };
}

/** For a certificate that an earlier run rolled back. */
export function rolledBackFailure(certificate: string, from: string): Failure {
  return {
    code: 'SERVED_STALE',
    message: `the certificate with serial ${from} was not served, so nodecertd rolled back to the previous one`,
    remedy: rolledBackRemedy(certificate),
  };
}

export function rolledBackRemedy(certificate: string): string {
  return `Find out why the server does not load the new certificate, then run: nodecertd renew ${certificate}`;
}
