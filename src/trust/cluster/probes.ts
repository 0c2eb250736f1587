import { AgentError, describeError, hasCode } from '../../core/errors.ts';
import { formatHostPort } from '../../core/host-port.ts';
import type { Instant } from '../../core/instant.ts';
import { second } from '../../core/instant.ts';
import { encodeCertificates } from '../../core/pem.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { whoAmI } from '../../kube/access-review.ts';
import type {
  ClientCertificate,
  ClusterAccess,
  ClusterEndpoint,
} from '../../kube/cluster-access.ts';
import { KubeClient } from '../../kube/rest-client.ts';
import type { Clock } from '../../sys/clock.ts';
import type { RolloverAuthorities } from './gate.ts';
import type { SigningAuthority } from './probe-certificate.ts';
import { mintProbe, probeUser } from './probe-certificate.ts';
import type { ServedLeaf } from './served-leaf.ts';
import { servedLeaf } from './served-leaf.ts';
import type { SigningKeys } from './signing-authorities.ts';

/** An API server that can be dialed by itself. */
export interface ProbedServer {
  /** The name of its Node, or its address. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

/** Whether an API server authenticates clients by one of the CAs. */
export type ProbeResult =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'rejected' }
  /** The key of the CA is not on this machine. */
  | { readonly kind: 'no-key' }
  | { readonly kind: 'failed'; readonly reason: string };

export interface ServerProbe {
  readonly server: ProbedServer;
  readonly served: ServedLeaf;
  readonly byOld: ProbeResult;
  readonly byNext: ProbeResult;
}

export interface ProbeEnvironment {
  /** The settings for the API servers, such as a proxy. */
  readonly cluster: ClusterEndpoint;
  readonly authorities: RolloverAuthorities;
  readonly keys: SigningKeys;
  /** By the clock of the API servers. */
  readonly now: Instant;
  readonly version: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * Asks each API server itself which clients it authenticates. The ConfigMap
 * extension-apiserver-authentication proves nothing: it has the CAs of all API servers together.
 * @throws AgentError KEY_UNSUPPORTED
 */
export async function probeServers(
  servers: readonly ProbedServer[],
  environment: ProbeEnvironment,
): Promise<ServerProbe[]> {
  const { keys, now } = environment;
  await using probes = new ProbeCertificates(
    await mintIfKnown(keys.old, now),
    await mintIfKnown(keys.next, now),
  );
  const { old, next } = probes;
  return await Promise.all(
    servers.map(async (server): Promise<ServerProbe> => {
      const served = await servedLeaf(server, environment.authorities, environment.signal);
      const target = { server, served };
      const [byOld, byNext] = await Promise.all([
        authenticate(old, target, environment),
        authenticate(next, target, environment),
      ]);
      return { server, served, byOld, byNext };
    }),
  );
}

async function mintIfKnown(
  authority: SigningAuthority | undefined,
  now: Instant,
): Promise<ClientCertificate | undefined> {
  return authority && mintProbe(authority, now);
}

/** Wipes the keys at the end. */
class ProbeCertificates implements AsyncDisposable {
  readonly old: ClientCertificate | undefined;
  readonly next: ClientCertificate | undefined;

  constructor(old: ClientCertificate | undefined, next: ClientCertificate | undefined) {
    this.old = old;
    this.next = next;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.old?.key.wipe();
    this.next?.key.wipe();
  }
}

interface ProbeTarget {
  readonly server: ProbedServer;
  readonly served: ServedLeaf;
}

const limits = { connectMs: 5 * second, requestMs: 10 * second };

async function authenticate(
  clientCertificate: ClientCertificate | undefined,
  { server, served }: ProbeTarget,
  { cluster, authorities, version, clock, signal }: ProbeEnvironment,
): Promise<ProbeResult> {
  if (clientCertificate === undefined) return { kind: 'no-key' };
  if (served.issuedBy === 'unreadable') return { kind: 'failed', reason: served.reason };
  const trusted = authoritiesFor(served, authorities);
  const access = accessTo(server, { cluster, trusted, clientCertificate });
  try {
    await using client = await KubeClient.open({ access, version, clock, limits });
    const identity = await whoAmI(client, signal);
    if (identity === 'unknown' || identity.username === probeUser) return { kind: 'accepted' };
    const reason = `it authenticates the client as ${identity.username}: a load balancer or proxy terminates TLS`;
    return { kind: 'failed', reason };
  } catch (error) {
    signal.throwIfAborted();
    if (hasCode(error, 'API_UNAUTHORIZED')) return { kind: 'rejected' };
    if (!(error instanceof AgentError)) throw error;
    return { kind: 'failed', reason: describeError(error) };
  }
}

/**
 * Only the CA that has issued the certificate. OpenSSL tries only the first of two CAs that have the
 * same name and no key identifier.
 */
function authoritiesFor(
  { issuedBy }: ServedLeaf,
  { old, next }: RolloverAuthorities,
): TrustAuthority[] {
  if (issuedBy === 'old') return [old];
  return next === undefined ? [old] : issuedBy === 'next' ? [next] : [old, next];
}

/** kubeadm and others put this name into the certificate of each API server; addresses may differ. */
const serverName = 'kubernetes.default.svc';

function accessTo(
  server: ProbedServer,
  probe: {
    readonly cluster: ClusterEndpoint;
    readonly trusted: readonly TrustAuthority[];
    readonly clientCertificate: ClientCertificate;
  },
): ClusterAccess {
  return {
    path: 'the probe',
    cluster: {
      tlsServerName: serverName,
      ...probe.cluster,
      server: `https://${formatHostPort(server)}`,
      certificateAuthority: { pem: encodeCertificates(probe.trusted) },
      insecureSkipTlsVerify: false,
    },
    credential: { clientCertificate: probe.clientCertificate },
    // The caller wipes the key, which is the same for all servers.
    [Symbol.dispose]: () => undefined,
  };
}
