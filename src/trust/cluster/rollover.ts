import type { ApiServerPlace } from '../../kube/api-server-list.ts';
import { otherApiServers } from '../../kube/api-server-list.ts';
import type { ClusterAccess } from '../../kube/cluster-access.ts';
import { KubeClient } from '../../kube/rest-client.ts';
import { nodeSubject } from '../../core/certificate-spec.ts';
import type { Failure } from '../../core/errors.ts';
import { hasCode, toFailure } from '../../core/errors.ts';
import { hostOf } from '../../core/host-port.ts';
import { shortFingerprint } from '../../core/trust-annotation.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { without } from '../../core/without.ts';
import type { KubernetesDirectories } from '../../pki/layout.ts';
import { ServerClock } from '../../pki/unattended/server-clock.ts';
import type { Clock } from '../../sys/clock.ts';
import { readClientUse } from './audit-log.ts';
import type { NamedAuthorities } from './authorities.ts';
import { rolloverAuthorities } from './authorities.ts';
import type { Confirmed, Gate, GateInput, ProbedIssuer, RolloverAuthorities } from './gate.ts';
import { judgeDroppable } from './gates/droppable.ts';
import { judgeNodes } from './gates/nodes.ts';
import { judgePods } from './gates/pods.ts';
import { judgePublished } from './gates/published.ts';
import { judgeReissued } from './gates/reissued.ts';
import { judgeServers } from './gates/servers.ts';
import { judgeServing } from './gates/serving.ts';
import { judgeSigner } from './gates/signer.ts';
import { gateOf } from './gates/verdict.ts';
import { leftovers } from './leftovers.ts';
import { isNextInUse } from './next-in-use.ts';
import { dialKubelets } from './kubelet-ports.ts';
import type { LocalControlPlane } from './local-control-plane.ts';
import { readLocalControlPlane } from './local-control-plane.ts';
import type { ProbedServer, ServerProbe } from './probes.ts';
import { probeServers } from './probes.ts';
import { readClusterState } from './read/cluster.ts';
import { serverTrustOf } from './server-trust.ts';
import { findSigningKeys } from './signing-authorities.ts';
import type { ClusterState } from './state.ts';

export interface RolloverQuestion {
  readonly access: ClusterAccess;
  readonly directories: KubernetesDirectories;
  /** Further files with keys of the CAs. */
  readonly keyFiles: readonly string[];
  readonly named: NamedAuthorities;
  readonly confirmed: Confirmed;
  /** Connect to the ports of the kubelets. */
  readonly dial: boolean;
  /** Audit logs of the API servers. */
  readonly auditLogs: readonly string[];
  readonly version: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly onStep?: (what: string, state: 'started' | 'ended') => void;
}

/** Everything that is known about a rollover at one moment. */
export interface RolloverView {
  /** The URL in the kubeconfig. */
  readonly server: string;
  readonly authorities: RolloverAuthorities;
  readonly state: ClusterState;
  readonly probes: readonly ServerProbe[];
  readonly local: LocalControlPlane;
  /** In the order of the rollover. Empty while the cluster has one CA. */
  readonly gates: readonly Gate[];
}

/**
 * Reads the cluster, asks each API server, and judges the gates. Changes nothing.
 * @throws AgentError as KubeClient.request; USAGE if the CAs have to be named
 */
export async function viewRollover(question: RolloverQuestion): Promise<RolloverView> {
  const { access, version, clock, signal, confirmed, onStep } = question;
  const serverClock = new ServerClock(clock);
  await using client = await KubeClient.open({
    access,
    version,
    clock,
    onDate: serverClock.note,
  });
  await client.authenticate(signal);
  onStep?.('the cluster', 'started');
  const { servers, unlisted } = await allServers(client, signal);
  const state = await readClusterState(
    { client, signal },
    {
      readAt: serverClock.now(),
      withPods: confirmed.pods !== true,
      withKubeletPorts: question.dial,
    },
  );
  onStep?.('the cluster', 'ended');
  const authorities = rolloverAuthorities(state, question.named);
  const local = await readLocalControlPlane(question.directories, authorities);
  const { next } = authorities;
  const common = { server: access.cluster.server, authorities, state, local };
  if (next === undefined) return { ...common, probes: [], gates: [] };
  onStep?.('the API servers', 'started');
  const probes = await probe(servers, { authorities, now: serverClock.now(), question });
  onStep?.('the API servers', 'ended');
  const found = {
    authorities: { ...authorities, next },
    state,
    local,
    probes,
    ...(unlisted && { unlisted }),
  };
  return { ...common, probes, gates: await judge(found, question) };
}

interface FoundServers {
  readonly servers: readonly ProbedServer[];
  /** Why there may be others. */
  readonly unlisted?: Failure;
}

/** Those of the control-plane Nodes and of the EndpointSlice, or else the one in the kubeconfig. */
async function allServers(client: KubeClient, signal: AbortSignal): Promise<FoundServers> {
  const url = new URL(client.access.cluster.server);
  const own = { name: url.host, host: hostOf(url), port: Number(url.port) || 443 };
  try {
    const places = await otherApiServers(client, { nodeName: '', addresses: new Set() }, signal);
    return { servers: places.length > 0 ? places.map(serverAt) : [own] };
  } catch (error) {
    if (!hasCode(error, 'API_FORBIDDEN')) throw error;
    return { servers: [own], unlisted: toFailure(error) };
  }
}

/** A Node without an address may have a name that resolves. */
function serverAt({ name, address, port }: ApiServerPlace): ProbedServer {
  return { name, host: address ?? name, port };
}

interface ProbeRun {
  readonly authorities: RolloverAuthorities;
  readonly now: number;
  readonly question: RolloverQuestion;
}

async function probe(
  servers: readonly ProbedServer[],
  { authorities, now, question }: ProbeRun,
): Promise<ServerProbe[]> {
  const { access, directories, keyFiles, version, clock, signal } = question;
  const { certificates } = directories;
  const keys = await findSigningKeys(authorities, { certificates, files: keyFiles });
  const { cluster } = access;
  return await probeServers(servers, { cluster, authorities, keys, now, version, clock, signal });
}

interface Findings {
  readonly authorities: Required<RolloverAuthorities>;
  readonly state: ClusterState;
  readonly local: LocalControlPlane;
  readonly probes: readonly ServerProbe[];
  readonly unlisted?: Failure;
}

async function judge(
  { authorities, state, local, probes, unlisted }: Findings,
  { confirmed, dial, auditLogs, signal, onStep }: RolloverQuestion,
): Promise<Gate[]> {
  onStep?.('the kubelets', 'started');
  const kubelets = await dialedKubelets({ authorities, state, confirmed, dial, signal });
  onStep?.('the kubelets', 'ended');
  const clients = await readClientUse({
    files: auditLogs,
    byNext: new Set(
      local.leaves.flatMap(({ issuer, fingerprint }) =>
        issuer === 'next' && fingerprint !== undefined ? [fingerprint] : [],
      ),
    ),
    reissued: reissuedNodes(state, authorities.next),
  });
  const { kubeletClient, signingFiles, leaves, trustFiles } = local;
  const kubeletAuthority = trustFiles.find(({ flag }) =>
    flag.endsWith('--kubelet-certificate-authority'),
  );
  const input: GateInput = {
    state,
    authorities,
    servers: serverTrustOf(probes),
    signingFiles,
    leaves: [...leaves, ...kubelets],
    ...(kubeletClient !== undefined && { kubeletClient }),
    ...(clients !== undefined && { clients }),
    confirmed,
  };
  const [signer, serving, reissued] = [
    judgeSigner(input),
    judgeServing(probes),
    judgeReissued(input),
  ];
  const servers = judgeServers({
    probes,
    isOldInUse: reissued.state !== 'open',
    isNextInUse: isNextInUse(input),
    ...(kubeletAuthority !== undefined && { kubeletAuthority }),
    servedByKubelets: new Set(kubelets.map(({ issuer }) => issuer)),
    readAt: state.readAt,
    ...(unlisted !== undefined && { unlisted }),
  });
  const first = [servers, judgePublished(input), judgeNodes(input), judgePods(input)];
  const { reasons } = judgeDroppable(input, [signer, serving, reissued]);
  // Without a probe by the old CA, it is unknown whether an API server still accepts that CA.
  const isOldAccepted = probes.some(({ byOld }) => byOld.kind === 'accepted');
  const left = leftovers(isOldAccepted ? input : without(input, 'servers'));
  return [...first, signer, serving, reissued, gateOf('G8', [...reasons, ...left])];
}

interface KubeletDials extends Pick<Findings, 'authorities' | 'state'> {
  readonly confirmed: Confirmed;
  readonly dial: boolean;
  readonly signal: AbortSignal;
}

/** A Node that is not Ready is a reason already. */
async function dialedKubelets({
  authorities,
  state,
  confirmed,
  dial,
  signal,
}: KubeletDials): Promise<ProbedIssuer[]> {
  if (!dial || state.nodes.outcome !== 'read') return [];
  const nodes = state.nodes.value.filter(
    ({ name, isReady }) => isReady && confirmed.exceptNodes?.has(name) !== true,
  );
  return await dialKubelets({ nodes, authorities, signal });
}

/** The users of the Nodes that have reported a client certificate issued by the new CA. */
function reissuedNodes({ nodes }: ClusterState, { fingerprint }: TrustAuthority): Set<string> {
  const found = nodes.outcome === 'read' ? nodes.value : [];
  const short = fingerprint.slice(0, shortFingerprint);
  return new Set(
    found.flatMap(({ name, report }) =>
      typeof report === 'object' && Object.values(report.leaf).includes(short)
        ? [nodeSubject(name).commonName]
        : [],
    ),
  );
}
