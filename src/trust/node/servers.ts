import type { X509Certificate } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Failure } from '../../core/errors.ts';
import { AgentError, hasCode, toFailure } from '../../core/errors.ts';
import { formatHostPort, hostOf, isLoopback } from '../../core/host-port.ts';
import { second } from '../../core/instant.ts';
import { encodeCertificates } from '../../core/pem.ts';
import type { RefusedTrust } from '../../core/trust-report.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import type { ClusterAccess, ClusterEndpoint } from '../../kube/cluster-access.ts';
import { proxyFor } from '../../kube/proxy.ts';
import { nameOf, servedChain } from '../../kube/server-certificate.ts';
import { getOnce } from '../../kube/single-get.ts';
import { systemCodes } from '../../kube/transport-error.ts';
import type { Clock } from '../../sys/clock.ts';
import { refusedTrust, TrustFault } from './refused-trust.ts';
import type { TrustSource } from './source.ts';

export interface ServerDial {
  /** The kubeconfig of the kubelet. Its server, server name and proxy count, and no credential. */
  readonly access: Pick<ClusterAccess, 'path' | 'cluster'>;
  /** The connections trust these CAs and no other. */
  readonly authorities: readonly TrustAuthority[];
  /** The version of this program, for the User-Agent. */
  readonly version: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** The addresses of a name; by default those that this machine finds. */
  readonly resolve?: (host: string) => Promise<readonly string[]>;
}

/** What one address of the API server serves now. */
export type DialedServer = {
  /** As in `10.0.0.1:6443`. */
  readonly address: string;
} & (
  | {
      readonly kind: 'verified';
      /** The leaf first. */
      readonly chain: readonly X509Certificate[];
    }
  | {
      readonly kind: 'unverified';
      /** Empty behind a proxy. */
      readonly chain: readonly X509Certificate[];
      /** The code of the verification error, such as CERT_HAS_EXPIRED. */
      readonly code: string;
    }
  | { readonly kind: 'unreachable'; readonly failure: Failure }
);

/**
 * Opens a new connection to each address of the API server in the kubeconfig, because open
 * connections keep the certificate that they began with. A name may have the address of each API
 * server of the cluster.
 * @throws AgentError ABORTED, KUBECONFIG_INVALID
 */
export async function dialServers(dial: ServerDial): Promise<DialedServer[]> {
  const { server } = dial.access.cluster;
  try {
    const targets = await targetsOf(dial.access.cluster, dial.resolve ?? addressesOf);
    const answers = await Promise.all(targets.map((cluster) => dialServer(cluster, dial)));
    const used = answers.filter(({ isUnused }) => !isUnused);
    return (used.length > 0 ? used : answers).map((answer) => answer.server);
  } catch (error) {
    if (!hasCode(error, 'API_UNREACHABLE')) throw error;
    return [{ address: addressOf(server), kind: 'unreachable', failure: toFailure(error) }];
  }
}

/** A load balancer has few addresses. */
const mostAddresses = 16;

/** The endpoint once for each of its addresses. A proxy resolves the name itself. */
async function targetsOf(
  cluster: ClusterEndpoint,
  resolve: NonNullable<ServerDial['resolve']>,
): Promise<ClusterEndpoint[]> {
  const url = new URL(cluster.server);
  const host = hostOf(url);
  if (proxyFor(cluster) !== undefined || isIP(host) !== 0) return [cluster];
  const addresses = await resolve(host);
  return addresses.slice(0, mostAddresses).map((address): ClusterEndpoint => {
    const target = new URL(url);
    target.host = formatHostPort({ host: address, port: url.port || '443' });
    return {
      ...cluster,
      server: target.href,
      tlsServerName: cluster.tlsServerName ?? host,
      // NO_PROXY may contain the name and not the address.
      ignoresProxyVariables: true,
    };
  });
}

async function addressesOf(host: string): Promise<string[]> {
  try {
    const found = await lookup(host, { all: true });
    return [...new Set(found.map(({ address }) => address))];
  } catch (error) {
    throw new AgentError('API_UNREACHABLE', `the name ${host} does not resolve`, {
      cause: error,
      remedy: `Check the name and the DNS servers of this machine: getent ahosts ${host}`,
    });
  }
}

/** For the connection and the response together. */
const limitMs = 10 * second;

async function dialServer(
  endpoint: ClusterEndpoint,
  { access: { path }, authorities, version, clock, signal }: ServerDial,
): Promise<{ readonly server: DialedServer; readonly isUnused: boolean }> {
  const address = addressOf(endpoint.server);
  const cluster: ClusterEndpoint = {
    ...endpoint,
    certificateAuthority: { pem: encodeCertificates(authorities) },
    insecureSkipTlsVerify: false,
  };
  const access = { path, cluster, credential: {}, [Symbol.dispose]: () => undefined };
  try {
    // Every HTTP status is an answer: this request only needs the handshake.
    const answer = await getOnce({
      access,
      path: '/livez',
      version,
      clock,
      signal,
      limitMs,
      bodyBytes: 1024 * 1024,
    });
    const { certificate } = answer;
    const chain = certificate === undefined ? [] : servedChain(certificate);
    const server: DialedServer =
      answer.kind === 'response'
        ? { address, kind: 'verified', chain }
        : { address, kind: 'unverified', chain, code: answer.code };
    return { server, isUnused: false };
  } catch (error) {
    if (hasCode(error, 'ABORTED')) throw error;
    const server: DialedServer = { address, kind: 'unreachable', failure: toFailure(error) };
    return { server, isUnused: isUnused(cluster.server, error) };
  }
}

/**
 * A name may have an IPv6 address that this machine does not use: without a route, or `localhost` with
 * a load balancer that listens only on 127.0.0.1. Such an address is no API server that is down.
 */
function isUnused(server: string, error: unknown): boolean {
  const codes = systemCodes(error);
  if (codes.includes('ENETUNREACH') || codes.includes('EADDRNOTAVAIL')) return true;
  return codes.includes('ECONNREFUSED') && isLoopback(hostOf(new URL(server)));
}

function addressOf(server: string): string {
  const url = new URL(server);
  return formatHostPort({ host: hostOf(url), port: url.port || '443' });
}

/**
 * The refusal of CAs that do not verify what an API server serves. A server that does not answer
 * proves nothing, and must not keep a node from a new CA.
 */
export function unverifiedRefusal(
  dialed: readonly DialedServer[],
  source: TrustSource,
): RefusedTrust | undefined {
  const unverified = dialed.find((server) => server.kind === 'unverified');
  if (unverified === undefined) return undefined;
  const { address, chain, code } = unverified;
  const [leaf] = chain;
  const served =
    leaf === undefined ? 'a certificate' : `a certificate with the issuer ${nameOf(leaf.issuer)}`;
  const message = `they do not verify the API server at ${address}, which serves ${served} (${code})`;
  return refusedTrust(new TrustFault('does-not-verify-server', message), source);
}
