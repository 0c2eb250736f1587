import { formatHostPort } from '../../../core/host-port.ts';
import { printable } from '../../../core/printable.ts';
import type { ClientCertificate } from '../../../kube/cluster-access.ts';
import { keyFileOf } from '../../../pki/layout.ts';
import { rolloverDirectory } from '../../../pki/renewal/rollover-runs.ts';
import { readRuns, restorations } from '../../../store/run-folder.ts';
import type { EtcdGateId, Gate, GateReason } from '../../cluster/gate.ts';
import { gateOf } from '../../cluster/gates/verdict.ts';
import type { DialedServer } from '../../cluster/served-leaf.ts';
import { servedLeaf } from '../../cluster/served-leaf.ts';
import { applyCommand, applyOn } from '../apply-command.ts';
import { uploadedCertificatesTask } from '../cluster-tasks.ts';
import { readNodesWithOwn } from '../control-plane-nodes.ts';
import { readClientPair } from '../etcd/access.ts';
import { probeMember } from '../etcd/member-probes.ts';
import { externalEtcd } from '../etcd/support.ts';
import { asClient, importedPair } from '../imported-pair.ts';
import { entryOf, pairPath, readLeaf } from '../leaf.ts';
import type { RolloverNode } from '../node-files.ts';
import { readRolloverNode } from '../node-files.ts';
import type { NodeStepName } from '../node-step.ts';
import type { StepRequest } from '../step-plan.ts';
import { runsOf, undoCommand } from '../task-run.ts';
import { outdatedApiServer } from './etcd.ts';
import { clientName } from './external-etcd-tasks.ts';
import { authoritiesOf } from './kubernetes.ts';
import type { StepCluster, StepClusterQuestion } from './step-cluster.ts';

/**
 * The part of the cluster in a step of the CA `etcd`, if etcd runs on other machines. The administrator
 * changes those; the gates show what they serve, and from which CAs they accept clients.
 * @throws AgentError as KubeClient.request, importedPair
 */
export async function externalEtcdCluster(question: StepClusterQuestion): Promise<StepCluster> {
  const { step, node, request } = question;
  const nodes = await readNodesWithOwn(request);
  return {
    nodes,
    tasks: await uploadedCertificatesTask(request),
    notes: [onEtcdHosts[step]],
    judge: async () => ({
      gates: await judge(question, externalEtcd(node.components) ?? []),
      reasons: [],
      commands: commandsAfter(
        step,
        nodes.others.map(({ name }) => name),
      ),
    }),
  };
}

const onEtcdHosts: Readonly<Record<NodeStepName, string>> = {
  trust:
    'On the etcd hosts, one after the other: append the new CA to the files of etcd --trusted-ca-file and --peer-trusted-ca-file, restart etcd, and wait until all members are healthy.',
  switch:
    'On the etcd hosts, after trust on each control-plane node and on each etcd host: replace the certificates of etcd --cert-file and --peer-cert-file with certificates from the new CA. etcd needs no restart.',
  finish:
    'On the etcd hosts, one after the other, once each client of etcd has a certificate from the new CA: write the new CA alone into the files of etcd --trusted-ca-file and --peer-trusted-ca-file, restart etcd, and wait until all members are healthy.',
};

function commandsAfter(step: NodeStepName, others: readonly string[]): string[] {
  const same = applyOn(others, step, 'etcd');
  switch (step) {
    case 'trust':
      return [
        ...same,
        `nodecertd certs renew ${clientName} --csr-out DIR # on each control-plane node; the new CA then signs the CSR`,
        `${applyCommand('switch', 'etcd')} --import DIR # on each control-plane node, after the etcd hosts trust the new CA`,
      ];
    case 'switch':
      return [
        ...others.map((node) => `${applyCommand(step, 'etcd')} --import DIR # on ${node}`),
        `${applyCommand('finish', 'etcd')} # on each control-plane node, after the etcd hosts serve certificates from the new CA`,
      ];
    case 'finish':
      return same;
    default:
      return step satisfies never;
  }
}

async function judge(
  question: StepClusterQuestion,
  servers: readonly DialedServer[],
): Promise<readonly Gate<EtcdGateId>[]> {
  const { step, node, request, isRepair = false } = question;
  switch (step) {
    case 'trust': {
      const early = isRepair ? [] : await servingNext(servers, node, request.signal);
      return [gateOf('E1', early.map(servedTooEarly))];
    }
    case 'switch': {
      using client = await newClient(node, request);
      const rejecting = await rejections(servers, client, request.signal);
      return [gateOf('E2', [...rejecting.map(untrusting), ...(await outdatedApiServer(question))])];
    }
    case 'finish':
      return [await issued(servers, node, request.signal)];
    default:
      return step satisfies never;
  }
}

/** The certificate that this step installs, or has installed. */
async function newClient(
  node: RolloverNode,
  { clock, importFrom: folder }: StepRequest,
): Promise<ClientCertificate & Disposable> {
  const leaf = await readLeaf(node, clientName);
  if (folder === undefined || leaf === undefined || leaf.by === 'next') {
    const path = pairPath(node, clientName);
    return readClientPair(path, keyFileOf(path));
  }
  const existing = { entry: entryOf(clientName), leaf: leaf.certificate };
  return asClient(await importedPair(node, existing, { folder, now: clock.now() }));
}

interface Rejection {
  readonly place: string;
  /** Why the server did not answer. Absent if it rejected the certificate. */
  readonly reason?: string;
}

/** The members that do not accept this client. */
async function rejections(
  servers: readonly DialedServer[],
  client: ClientCertificate,
  signal: AbortSignal,
): Promise<Rejection[]> {
  const found = await Promise.all(
    servers.map(async (server): Promise<Rejection[]> => {
      const result = await probeMember(server, client, signal);
      const place = placeOf(server);
      if (result.kind === 'accepted') return [];
      return [{ place, ...(result.kind === 'failed' && { reason: result.reason }) }];
    }),
  );
  return found.flat();
}

function untrusting({ place, reason }: Rejection): GateReason {
  if (reason !== undefined) return unanswered(place, reason);
  return {
    state: 'waiting',
    message: `${place} rejects certificates from the new CA`,
    remedy:
      'Append the new CA to the files of etcd --trusted-ca-file and --peer-trusted-ca-file on that host, and restart etcd',
  };
}

async function servingNext(
  servers: readonly DialedServer[],
  node: RolloverNode,
  signal: AbortSignal,
): Promise<string[]> {
  const found = await Promise.all(
    servers.map(async (server) => {
      const { issuedBy } = await servedLeaf(server, authoritiesOf(node), signal);
      return issuedBy === 'next' ? [placeOf(server)] : [];
    }),
  );
  return found.flat();
}

function servedTooEarly(place: string): GateReason {
  return {
    state: 'harmful',
    message: `${place} serves a certificate from the new CA, which kube-apiserver on this node does not trust`,
    remedy:
      'Restore the previous certificate of etcd --cert-file on that host, and then run this command again',
  };
}

async function issued(
  servers: readonly DialedServer[],
  node: RolloverNode,
  signal: AbortSignal,
): Promise<Gate<EtcdGateId>> {
  const reasons = servers.map(async (server): Promise<GateReason[]> => {
    const served = await servedLeaf(server, authoritiesOf(node), signal);
    if (served.issuedBy === 'next') return [];
    if (served.issuedBy === 'unreadable') return [unanswered(placeOf(server), served.reason)];
    const issuer = served.issuedBy === 'old' ? 'the old CA' : 'another CA';
    return [
      {
        state: 'waiting',
        message: `${placeOf(server)} serves a certificate from ${issuer}`,
        remedy:
          'Replace the certificates of etcd --cert-file and --peer-cert-file on that host with certificates from the new CA',
      },
    ];
  });
  return gateOf('E3', (await Promise.all(reasons)).flat());
}

function unanswered(place: string, reason: string): GateReason {
  const message = `${place} does not answer: ${printable(reason, 200)}`;
  return { state: 'unknown', message, remedy: 'Start etcd on that host, or open its port' };
}

function placeOf(server: DialedServer): string {
  return `etcd at ${formatHostPort(server)}`;
}

/**
 * Why a step of the CA of external etcd must not be undone on this node now.
 * @throws AgentError as readRolloverNode
 */
export async function externalUndoRefusals(
  step: NodeStepName,
  servers: readonly DialedServer[],
  request: StepRequest,
): Promise<GateReason[]> {
  const { signal } = request;
  const node = await readRolloverNode(request);
  // After `finish`, kube-apiserver trusts both CAs again, which is safe at any time.
  if (node === undefined || step === 'finish') return [];
  if (step === 'trust') return (await servingNext(servers, node, signal)).map(neededNext);
  using client = await previousClient(request);
  if (client === undefined) return [];
  return (await rejections(servers, client, signal)).map(lostOld);
}

/** From the copies of the step `switch`, because the key of the CA is on no node. */
async function previousClient(
  request: StepRequest,
): Promise<(ClientCertificate & Disposable) | undefined> {
  const { ca, tree, directories } = request;
  const runs = runsOf(ca, await readRuns(rolloverDirectory(directories)));
  const copies = restorations(runs.filter(({ manifest }) => manifest.step === 'switch'));
  const certificate = pairPath(request, clientName);
  const [pem, key] = await Promise.all(
    [certificate, keyFileOf(certificate)].map(async (file) => {
      const { path } = await tree.locate(file);
      return copies.find((one) => one.path === path)?.target?.backup;
    }),
  );
  return pem === undefined || key === undefined ? undefined : readClientPair(pem, key);
}

function neededNext(place: string): GateReason {
  return {
    state: 'waiting',
    message: `${place} serves a certificate from the new CA, which kube-apiserver on this node would reject`,
    remedy: 'Restore the previous certificate of etcd --cert-file on that host first',
  };
}

function lostOld({ place, reason }: Rejection): GateReason {
  if (reason !== undefined) return unanswered(place, reason);
  return {
    state: 'waiting',
    message: `${place} rejects certificates from the old CA already`,
    remedy: `Append the old CA to the file of etcd --trusted-ca-file on that host, and restart etcd; then run again: ${undoCommand({ step: 'switch', ca: 'etcd' })}; or complete the rollover`,
  };
}
