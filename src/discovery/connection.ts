import type { X509Certificate } from 'node:crypto';
import { AgentError } from '../core/errors.ts';
import { hostOf } from '../core/host-port.ts';
import type { Instant } from '../core/instant.ts';
import { second } from '../core/instant.ts';
import { encodeCertificates } from '../core/pem.ts';
import type { Secret } from '../core/secret.ts';
import type { ClusterAccess, ClusterEndpoint } from '../kube/cluster-access.ts';
import { servedChain } from '../kube/server-certificate.ts';
import type { SingleResponse } from '../kube/single-get.ts';
import { getOnce } from '../kube/single-get.ts';
import { clusterInfoRequest } from './cluster-info.ts';
import { connectionFailure } from './connection-failure.ts';
import type { DiscoveredAuthority, DiscoveryContext, DiscoveryRequest } from './discovery.ts';
import { explainUnverified } from './explain-unverified.ts';
import type { Response } from './response.ts';

/** The longest cluster-info. A ConfigMap has at most 1 MiB. */
export const longestClusterInfo = 1024 * 1024;

/** For the connection and the response together. */
const limitMs = 10 * second;

/** For the requests of a client in a discovery. */
export const clientLimits = { connectMs: limitMs, requestMs: limitMs };

interface Target extends Pick<DiscoveryRequest, 'proxyUrl'> {
  readonly server: string;
}

/** Accepts every certificate, so it never has a token. */
export function unverifiedAccess(target: Target): ClusterAccess {
  return { ...accessTo(target, { insecureSkipTlsVerify: true }), credential: {} };
}

export interface VerifiedTarget extends Target {
  /** At least one. */
  readonly trusted: readonly DiscoveredAuthority[];
  readonly token?: Secret;
}

export function verifiedAccess({ trusted, token, ...target }: VerifiedTarget): ClusterAccess {
  const certificateAuthority = { pem: encodeCertificates(trusted) };
  return {
    ...accessTo(target, { insecureSkipTlsVerify: false, certificateAuthority }),
    credential: { ...(token !== undefined && { token }) },
  };
}

/** Uses no proxy of the environment. The caller owns the token. */
function accessTo(
  { server, proxyUrl }: Target,
  trust: Pick<ClusterEndpoint, 'insecureSkipTlsVerify' | 'certificateAuthority'>,
): Omit<ClusterAccess, 'credential'> {
  return {
    path: 'cluster-info',
    cluster: {
      server,
      ignoresProxyVariables: true,
      ...trust,
      ...(proxyUrl !== undefined && { proxyUrl }),
    },
    [Symbol.dispose]: () => undefined,
  };
}

export type ConnectionContext = Omit<DiscoveryContext, 'progress'>;

/** GETs cluster-info without a credential. @throws AgentError API_*, ABORTED */
export async function getClusterInfo(
  access: ClusterAccess,
  { clock, signal, version }: ConnectionContext,
): Promise<SingleResponse> {
  try {
    return await getOnce({
      access,
      path: clusterInfoRequest,
      version,
      clock,
      signal,
      limitMs,
      bodyBytes: longestClusterInfo,
    });
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    throw connectionFailure(error, access);
  }
}

/** What the first connection, which verifies nothing, shows about the server. */
export interface Observation {
  readonly chain: readonly X509Certificate[];
  /** The clock of this machine minus the Date header; undefined without one. */
  readonly clockOffsetMs: number | undefined;
}

export function observe({ certificate, headers }: Response, now: Instant): Observation {
  const date = Date.parse(headers['date'] ?? '');
  return {
    chain: certificate === undefined ? [] : servedChain(certificate),
    clockOffsetMs: Number.isNaN(date) ? undefined : now - date,
  };
}

export interface VerifiedGet extends VerifiedTarget {
  /** All CAs in cluster-info. */
  readonly bundle: readonly DiscoveredAuthority[];
  readonly observed: Observation;
}

/**
 * GETs cluster-info from a server that has to prove that one of the trusted CAs issued its
 * certificate.
 * @throws AgentError CLUSTER_UNTRUSTED, API_*, ABORTED
 */
export async function getVerified(
  { bundle, observed, ...target }: VerifiedGet,
  context: ConnectionContext,
): Promise<Response> {
  const response = await getClusterInfo(verifiedAccess(target), context);
  if (response.kind === 'response') return response;
  const { certificate, code } = response;
  const { trusted, server } = target;
  throw explainUnverified({
    code,
    // A proxy hides the certificate of a failed verification.
    chain: certificate === undefined ? observed.chain : servedChain(certificate),
    trusted,
    bundle,
    host: hostOf(new URL(server)),
    clockOffsetMs: observed.clockOffsetMs,
  });
}
