import { nodeSubject } from '../../core/certificate-spec.ts';
import type { Failure } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { shortFingerprint } from '../../core/trust.ts';
import type { ClusterAccess } from '../../kube/cluster-access.ts';
import { KubeClient } from '../../kube/rest-client.ts';
import type { KubernetesDirectories } from '../../pki/layout.ts';
import { startOf } from '../../pki/renewal/component-start.ts';
import { ServerClock } from '../../pki/unattended/server-clock.ts';
import type { Clock } from '../../sys/clock.ts';
import { interfaceAddresses } from '../../sys/network-interfaces.ts';
import { readClientUse } from './audit-log.ts';
import type { NamedAuthorities } from './authorities.ts';
import { rolloverAuthorities } from './authorities.ts';
import type { ClientUse, Confirmed, Gate, ProbedIssuer, RolloverAuthorities } from './gate.ts';
import { reportsLeafFrom } from './issued-by.ts';
import { dialKubelets } from './kubelet-ports.ts';
import type { ControlPlanes } from './control-planes.ts';
import {
  kubeletAuthoritiesOf,
  kubeletClientsOf,
  leavesOf,
  otherControlPlanes,
  signingFilesOf,
} from './control-planes.ts';
import type { LocalControlPlane, LocalLeaf } from './local-control-plane.ts';
import { readLocalControlPlane } from './local-control-plane.ts';
import type { ProbedServer, ServerProbe } from './probes.ts';
import { probeServers } from './probes.ts';
import { readClusterState } from './read/cluster.ts';
import { judgeAll } from './rollover-gates.ts';
import { listServers } from './server-list.ts';
import { serverTrustOf } from './server-trust.ts';
import { findSigningKeys } from './signing-authorities.ts';
import type { ClusterState } from './state.ts';

export interface RolloverQuestion {
  readonly access: ClusterAccess;
  readonly directories: KubernetesDirectories;
  /** Further files with keys of the CAs. */
  readonly keyFiles: readonly string[];
  readonly named: NamedAuthorities;
  /** Both CAs, for a caller that knows them from the files of this node. */
  readonly authorities?: Required<RolloverAuthorities>;
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
  /** The control-plane nodes other than this machine. */
  readonly others: ControlPlanes;
  /** In the order of the rollover. Empty while the cluster has one CA. */
  readonly gates: readonly Gate[];
}

/**
 * Reads the cluster, probes each API server, and judges the gates. Changes nothing.
 * @throws AgentError as KubeClient.request; USAGE if the CAs have to be named
 */
export async function viewRollover(question: RolloverQuestion): Promise<RolloverView> {
  const { access, version, clock, signal, confirmed, directories, dial } = question;
  const serverClock = new ServerClock(clock);
  const onDate = serverClock.note;
  await using client = await KubeClient.open({ access, version, clock, onDate });
  await client.authenticate(signal);
  const { servers, state, unlisted } = await step('the cluster', question, async () => ({
    ...(await listServers(client, signal)),
    state: await readClusterState(
      { client, signal },
      { readAt: serverClock.now(), withPods: confirmed.pods !== true, withKubeletPorts: dial },
    ),
  }));
  const authorities = question.authorities ?? rolloverAuthorities(state, question.named);
  const { server } = access.cluster;
  const local = await readLocalControlPlane(directories, authorities);
  const others = otherControlPlanes({
    state,
    servers,
    own: new Set(local.isControlPlane ? interfaceAddresses() : []),
    exceptNodes: confirmed.exceptNodes ?? new Set(),
  });
  const view = { server, authorities, state, local, others };
  const { old, next } = authorities;
  if (next === undefined) return { ...view, probes: [], gates: [] };
  const all = await step('the API servers', question, async () =>
    probe(servers, { authorities, now: serverClock.now(), question }),
  );
  const probes = withoutAbsent(all, confirmed);
  const both = { old, next };
  const found = { ...view, authorities: both, probes, ...(unlisted !== undefined && { unlisted }) };
  return { ...view, probes, gates: await judge(found, question) };
}

/**
 * Without the API servers of excepted Nodes that do not answer. One that answers counts: its clients
 * need the same CAs as those of the others.
 */
export function withoutAbsent(
  probes: readonly ServerProbe[],
  { exceptNodes }: Confirmed,
): ServerProbe[] {
  return probes.filter(
    ({ server: { name }, served }) =>
      served.issuedBy !== 'unreadable' || exceptNodes?.has(name) !== true,
  );
}

/** Names what the command waits for. */
async function step<T>(
  what: string,
  { onStep }: Pick<RolloverQuestion, 'onStep'>,
  work: () => Promise<T>,
): Promise<T> {
  onStep?.(what, 'started');
  try {
    return await work();
  } finally {
    onStep?.(what, 'ended');
  }
}

interface ProbeRun {
  readonly authorities: RolloverAuthorities;
  readonly now: Instant;
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
  readonly others: ControlPlanes;
  readonly probes: readonly ServerProbe[];
  readonly unlisted?: Failure;
}

async function judge(found: Findings, question: RolloverQuestion): Promise<Gate[]> {
  const { authorities, state, local, others, probes, unlisted } = found;
  const kubelets = await step('the kubelets', question, async () => dialReady(found, question));
  const serverStartedAt = await startOf('kube-apiserver', question);
  const components = [...local.leaves, ...leavesOf(others, authorities)];
  const clients = await clientUse({ ...found, components }, question);
  const input = {
    state,
    authorities,
    servers: serverTrustOf(probes),
    signingFiles: [...local.signingFiles, ...signingFilesOf(others, authorities)],
    leaves: [...components, ...kubelets],
    kubeletClients: [
      ...(local.kubeletClient === undefined
        ? []
        : [{ ...local.kubeletClient, ...(serverStartedAt !== undefined && { serverStartedAt }) }]),
      ...kubeletClientsOf(others, authorities),
    ],
    hiddenControlPlanes: others.hidden,
    ...(clients !== undefined && { clients }),
    confirmed: question.confirmed,
  };
  const kubeletAuthorities = [
    ...local.trustFiles.filter(({ flag }) => flag.endsWith(' --kubelet-certificate-authority')),
    ...kubeletAuthoritiesOf(others, authorities),
  ];
  const clientAuthorities = local.trustFiles.filter(
    ({ flag }) => flag === 'kube-apiserver --client-ca-file',
  );
  const findings = { probes, kubeletAuthorities, clientAuthorities, kubelets };
  return judgeAll(input, { ...findings, ...(unlisted !== undefined && { unlisted }) });
}

/** A Node that is not Ready is a reason already. */
async function dialReady(
  { authorities, state }: Findings,
  { confirmed, dial, signal }: RolloverQuestion,
): Promise<ProbedIssuer[]> {
  if (!dial || state.nodes.outcome !== 'read') return [];
  const nodes = state.nodes.value.filter(
    ({ name, isReady }) => isReady && confirmed.exceptNodes?.has(name) !== true,
  );
  return await dialKubelets({ nodes, authorities, signal });
}

/** Undefined without an audit log. */
async function clientUse(
  { authorities, state, components }: Findings & { readonly components: readonly LocalLeaf[] },
  { auditLogs }: RolloverQuestion,
): Promise<ClientUse | undefined> {
  const byNext = components.flatMap(({ issuer, fingerprint }) =>
    issuer === 'next' && fingerprint !== undefined ? [shortFingerprint(fingerprint)] : [],
  );
  const reissued = reissuedNodes(state, authorities);
  return await readClientUse({ files: auditLogs, byNext: new Set(byNext), reissued });
}

/** The users of the Nodes that have reported a certificate issued by the new CA. */
function reissuedNodes(
  { nodes }: ClusterState,
  { next }: Required<RolloverAuthorities>,
): Set<string> {
  const found = nodes.outcome === 'read' ? nodes.value : [];
  const reissued = found.filter((node) => reportsLeafFrom(node, next));
  return new Set(reissued.map(({ name }) => nodeSubject(name).commonName));
}
