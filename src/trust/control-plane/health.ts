import { otherApiServers } from '../../kube/api-server-list.ts';
import type { KubeClient } from '../../kube/rest-client.ts';
import { componentEndpoints } from '../../pki/components/component-endpoints.ts';
import type { Component } from '../../pki/components/component.ts';
import type { KubernetesDirectories } from '../../pki/layout.ts';
import { checkControlPlane } from '../../pki/renewal/control-plane-check.ts';
import { healthOf } from '../../pki/renewal/component-start.ts';
import { etcdMembersOf, unhealthyMembers } from '../../pki/unattended/etcd-members.ts';
import { unhealthyServers } from '../../pki/unattended/other-nodes.ts';
import type { Clock } from '../../sys/clock.ts';
import { findProcesses } from '../../sys/process.ts';
import type { GateReason } from '../cluster/gate.ts';
import { readControlPlaneNodes } from './control-plane-nodes.ts';
import { logOf } from './managed-component.ts';
import type { MirrorPod } from './mirror-pods.ts';
import { readMirrorPods } from './mirror-pods.ts';
import type { CaName } from './task.ts';

export interface HealthQuestion {
  readonly ca: CaName;
  /** With the credential of an administrator. */
  readonly client: KubeClient;
  readonly directories: KubernetesDirectories;
  /** The name and the addresses of this machine. */
  readonly hostName: string;
  readonly addresses: ReadonlySet<string>;
  readonly components: readonly Component[];
  /**
   * The node has done the step before. Then kube-controller-manager and kube-scheduler may be broken,
   * because the step repairs them. With the CA `etcd`, this is true of all components of this node.
   */
  readonly isRepair: boolean;
  /** Nodes that the administrator has excepted, because they are off. */
  readonly exceptNodes?: ReadonlySet<string>;
  readonly version: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** By default that of this machine. */
  readonly proc?: string;
}

/**
 * What does not work on the control plane: Nodes, components and the kubelet of this node.
 * @throws AgentError as KubeClient.request
 */
export async function healthProblems(question: HealthQuestion): Promise<GateReason[]> {
  const { client, signal, exceptNodes, hostName } = question;
  const isExpected = (node: string): boolean =>
    exceptNodes?.has(node) !== true && !(repairsEtcd(question) && node === hostName);
  const nodes = (await readControlPlaneNodes(client, signal)).filter(({ name }) =>
    isExpected(name),
  );
  const pods = (await readMirrorPods(client, signal)).filter(({ node }) => isExpected(node));
  const found = await Promise.all([
    withoutKubelet(question),
    unhealthyHere(question),
    unhealthyElsewhere(question),
  ]);
  return [
    ...nodes.filter(({ isReady }) => !isReady).map(({ name }) => notReadyNode(name, question)),
    ...pods.filter((pod) => !pod.isReady && !isRepaired(pod, question)).map(notReadyPod),
    ...found.flat(),
  ];
}

/** systemd restarts units without a kubelet. */
async function withoutKubelet({ components, proc }: HealthQuestion): Promise<GateReason[]> {
  const kinds = new Set(components.map(({ source }) => source.kind));
  if (kinds.has('unit') && !kinds.has('static-pod')) return [];
  const kubelets = await findProcesses(([program = '']) => /(?:^|\/)kubelet$/.test(program), proc);
  if (kubelets.length > 0) return [];
  return waiting(
    'the kubelet of this node is not running, so no component can restart',
    'Start the kubelet: systemctl start kubelet',
  );
}

/** Each member of etcd has to be healthy before a step of its CA, also that of an excepted Node. */
export function notReadyNode(
  name: string,
  { ca, hostName }: Pick<HealthQuestion, 'ca' | 'hostName'>,
): GateReason {
  const except = `; if it has to stay off, ignore it: --except ${name}`;
  const canBeOff = ca !== 'etcd' && name !== hostName;
  return {
    state: 'waiting',
    message: `the Node ${name} is not Ready`,
    remedy: `Find out why: kubectl describe node ${name}${canBeOff ? except : ''}`,
  };
}

function notReadyPod({ name }: MirrorPod): GateReason {
  return {
    state: 'waiting',
    message: `the pod kube-system/${name} is not Ready`,
    remedy: `Find out why: kubectl --namespace kube-system describe pod ${name}`,
  };
}

const repaired: ReadonlySet<string> = new Set(['kube-controller-manager', 'kube-scheduler']);

function isRepaired(
  { component }: Pick<MirrorPod, 'component'>,
  { isRepair }: HealthQuestion,
): boolean {
  return isRepair && repaired.has(component);
}

/**
 * Without its member of etcd, kube-apiserver of this node is down, and so is each component that connects
 * to it, which may include the kubelet.
 */
function repairsEtcd({ ca, isRepair }: HealthQuestion): boolean {
  return isRepair && ca === 'etcd';
}

/** The cluster may not have noticed yet that a component of this node does not answer. */
async function unhealthyHere(question: HealthQuestion): Promise<GateReason[]> {
  if (repairsEtcd(question)) return [];
  const { components, directories, version, clock, signal } = question;
  const checked = components.map(async (component) => {
    const { name } = component;
    const [endpoint] = componentEndpoints(component);
    if (endpoint === undefined || name === 'etcd' || isRepaired({ component: name }, question)) {
      return [];
    }
    if (name === 'kube-apiserver') {
      const check = { directories, apiServer: endpoint, restarted: [], version, clock, signal };
      return (await checkControlPlane(check)).flatMap(({ what, remedy }) => waiting(what, remedy));
    }
    const answer = await healthOf(endpoint, signal);
    if (answer === 'ok') return [];
    const remedy = `Find the reason in its log: ${logOf(components, name)}`;
    return waiting(`${name} on this node is unhealthy: ${answer}`, remedy);
  });
  return (await Promise.all(checked)).flat();
}

async function unhealthyElsewhere(question: HealthQuestion): Promise<GateReason[]> {
  const { client, hostName, addresses, components, version, clock, signal, exceptNodes } = question;
  const all = await otherApiServers(client, { nodeName: hostName, addresses }, signal);
  const servers = all.filter(({ name }) => exceptNodes?.has(name) !== true);
  const { access } = client;
  // The steps of the CA `etcd` check all members, and require that kube-apiserver uses only its own one.
  const members = repairsEtcd(question) ? [] : unhealthyMembers(etcdMembersOf(components), signal);
  const problems = await Promise.all([
    unhealthyServers(servers, { access, version, clock, signal }),
    members,
  ]);
  return problems.flat().flatMap((problem) => waiting(problem));
}

function waiting(message: string, remedy?: string): [GateReason] {
  return [{ state: 'waiting', message, ...(remedy !== undefined && { remedy }) }];
}
