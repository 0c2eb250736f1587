import { minute, second } from '../../core/instant.ts';
import { otherApiServers } from '../../kube/api-server-list.ts';
import type { KubeClient } from '../../kube/rest-client.ts';
import { componentEndpoints } from '../../pki/components/component-endpoints.ts';
import type { Component } from '../../pki/components/component.ts';
import { readCertificateFile } from '../../pki/inventory/certificate-file.ts';
import type { AuthorityName, KubernetesDirectories } from '../../pki/layout.ts';
import { authorityFile } from '../../pki/layout.ts';
import { checkControlPlane } from '../../pki/renewal/control-plane-check.ts';
import { healthOf } from '../../pki/renewal/component-start.ts';
import { etcdMembersOf, unhealthyMembers } from '../../pki/unattended/etcd-members.ts';
import { unhealthyServers } from '../../pki/unattended/other-nodes.ts';
import type { Clock } from '../../sys/clock.ts';
import { findProcesses } from '../../sys/process.ts';
import type { Gate, GateReason } from '../cluster/gate.ts';
import { gateNames, gatesBefore } from '../cluster/gate.ts';
import type { ControlPlaneNode } from './control-plane-nodes.ts';
import { readControlPlaneNodes } from './control-plane-nodes.ts';
import type { MirrorPod } from './mirror-pods.ts';
import { readMirrorPods } from './mirror-pods.ts';
import type { Step } from './task.ts';

export interface StepQuestion {
  readonly step: Step;
  /** With the credential of an administrator. */
  readonly client: KubeClient;
  readonly directories: KubernetesDirectories;
  /** The Node and the addresses of this machine. */
  readonly nodeName: string;
  readonly addresses: ReadonlySet<string>;
  readonly components: readonly Component[];
  /** Every gate; none before the step `switch`. */
  readonly gates: readonly Gate[];
  /**
   * The node has done the step before. Then kube-controller-manager and kube-scheduler may be broken,
   * because the step repairs them.
   */
  readonly isRepair: boolean;
  readonly version: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Called with what the step waits for. */
  readonly onWait: (what: string) => void;
  /** By default that of this machine. */
  readonly proc?: string;
}

/** A component that another step has restarted is Ready after the first answer to its startup probe. */
const patience = minute;
const interval = 5 * second;

/**
 * Why the step must not begin on this node now; empty if it may. Waits a minute for components that
 * are not healthy.
 * @throws AgentError as KubeClient.request
 */
export async function obstaclesTo(question: StepQuestion): Promise<GateReason[]> {
  const { clock, signal, onWait } = question;
  const lasting = [...closedGates(question), ...otherRollovers(question)];
  const start = clock.elapsed();
  for (;;) {
    const passing = await healthProblems(question);
    const [first] = passing;
    const isOver = clock.elapsed() - start >= patience;
    if (first === undefined || lasting.length > 0 || isOver) return [...lasting, ...passing];
    onWait(first.message);
    await clock.sleep(interval, signal);
  }
}

async function healthProblems(question: StepQuestion): Promise<GateReason[]> {
  const { client, signal } = question;
  const nodes = await readControlPlaneNodes(client, signal);
  const pods = await readMirrorPods(client, signal);
  const found = await Promise.all([
    withoutKubelet(question),
    unhealthyHere(question),
    unhealthyElsewhere(question),
  ]);
  return [
    ...nodes.filter(({ isReady }) => !isReady).map(notReadyNode),
    ...pods.filter((pod) => !pod.isReady && !isRepaired(pod, question)).map(notReadyPod),
    ...found.flat(),
  ];
}

/** The reasons of each gate that the step needs and that is not open. */
function closedGates({ step, gates }: StepQuestion): GateReason[] {
  const needed: readonly string[] = step === 'switch' || step === 'finish' ? gatesBefore[step] : [];
  return gates
    .filter(({ id }) => needed.includes(id))
    .flatMap(({ id, reasons }) =>
      reasons.map((reason) => ({
        ...reason,
        message: `${id} ${gateNames[id]}: ${reason.message}`,
      })),
    );
}

const otherAuthorities = ['etcd-ca', 'front-proxy-ca'] as const satisfies AuthorityName[];

/** Two rollovers at once would need twice the checks, and a failure would have two possible causes. */
function otherRollovers({ directories }: StepQuestion): GateReason[] {
  return otherAuthorities.flatMap((name) => {
    const path = authorityFile(name, directories);
    const reading = readCertificateFile(path);
    const count = reading.kind === 'read' ? reading.certificates.length : 0;
    if (count < 2) return [];
    return waiting(
      `${path} has ${count} CAs, so another CA rollover is in progress`,
      'Complete the rollover of that CA first',
    );
  });
}

async function withoutKubelet({ proc }: StepQuestion): Promise<GateReason[]> {
  const kubelets = await findProcesses(([program = '']) => /(?:^|\/)kubelet$/.test(program), proc);
  if (kubelets.length > 0) return [];
  return waiting(
    'the kubelet of this node is not running, so no component can restart',
    'Start it: systemctl start kubelet',
  );
}

function notReadyNode({ name }: ControlPlaneNode): GateReason {
  return {
    state: 'waiting',
    message: `the Node ${name} is not Ready`,
    remedy: `Find out why: kubectl describe node ${name}`,
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
  { isRepair }: StepQuestion,
): boolean {
  return isRepair && repaired.has(component);
}

/** The cluster may not have noticed yet that a component of this node does not answer. */
async function unhealthyHere(question: StepQuestion): Promise<GateReason[]> {
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
    return answer === 'ok' ? [] : waiting(`${name} on this node is unhealthy: ${answer}`);
  });
  return (await Promise.all(checked)).flat();
}

async function unhealthyElsewhere(question: StepQuestion): Promise<GateReason[]> {
  const { client, nodeName, addresses, components, version, clock, signal } = question;
  const servers = await otherApiServers(client, { nodeName, addresses }, signal);
  const { access } = client;
  const problems = await Promise.all([
    unhealthyServers(servers, { access, version, clock, signal }),
    unhealthyMembers(etcdMembersOf(components), signal),
  ]);
  return problems.flat().flatMap((problem) => waiting(problem));
}

function waiting(message: string, remedy?: string): [GateReason] {
  return [{ state: 'waiting', message, ...(remedy !== undefined && { remedy }) }];
}
