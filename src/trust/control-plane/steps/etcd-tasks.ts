import { bothCas, caReplacement, issuerFirst, keyReplacement, requireKey } from '../ca-files.ts';
import type { RolloverSide } from '../../cluster/gate.ts';
import type { CheckContext } from '../check.ts';
import {
  accessOf,
  requireAccepted,
  requireApiServer,
  requireMembers,
  requireTrust,
} from '../etcd/checks.ts';
import type { PairName } from '../leaf.ts';
import { pairPath, pairReplacement } from '../leaf.ts';
import { caPath } from '../node-files.ts';
import type { Replacement } from '../replacement.ts';
import { fileTask } from '../replacement.ts';
import { requireServedAt } from '../served-chain.ts';
import { latestStep } from '../stage.ts';
import type { FileTask } from '../task.ts';

/** etcd and kube-apiserver of this node trust both CAs. Both read them only when they start. */
export async function etcdTrustTasks(context: CheckContext): Promise<FileTask[]> {
  const { node } = context;
  return [
    fileTask(
      'etcd',
      [caReplacement(node, 'trusted', bothCas), await keyReplacement(node, 'trusted', 'old')],
      etcdRestart(context, bothCas),
    ),
    membersTask(context),
    apiServerTask(context),
  ];
}

/** This node has certificates from the new CA. */
export async function etcdSwitchTasks(context: CheckContext): Promise<FileTask[]> {
  const { node } = context;
  return [
    fileTask('previous CA', [
      caReplacement(node, 'previous', ['old']),
      ...(node.old.key === undefined ? [] : [await keyReplacement(node, 'previous', 'old')]),
    ]),
    ...(await issuingTasks(context, 'next')),
  ];
}

/** etcd and kube-apiserver of this node trust the new CA alone. */
export async function etcdFinishTasks(context: CheckContext): Promise<FileTask[]> {
  return aloneTasks(context, 'next');
}

/**
 * One stage back: certificates from the old CA again, also if kubeadm has renewed them after `switch`. Before
 * that, etcd and kube-apiserver trust the old CA alone.
 */
export async function etcdAbortTasks(context: CheckContext): Promise<FileTask[]> {
  const isSwitched = (await latestStep(context.node)) === 'switch';
  return (isSwitched ? issuingTasks : aloneTasks)(context, 'old');
}

/**
 * Certificates from one CA, which etcd and kube-apiserver read at each handshake. The peer certificate
 * comes last: it shows the other nodes that this node has all certificates.
 */
async function issuingTasks(context: CheckContext, by: RolloverSide): Promise<FileTask[]> {
  const { node } = context;
  requireKey(node, by);
  return [
    await clientTask(context, 'etcd-healthcheck-client', by),
    await clientTask(context, 'apiserver-etcd-client', by),
    await serverTask(context, by),
    await peerTask(context, by),
    // The same CAs in another order, so no component has to read them again.
    fileTask('signing CA', [
      await keyReplacement(node, 'trusted', by),
      caReplacement(node, 'trusted', issuerFirst[by]),
    ]),
  ];
}

async function aloneTasks(context: CheckContext, by: RolloverSide): Promise<FileTask[]> {
  const { node } = context;
  return [
    fileTask(
      'etcd',
      [await keyReplacement(node, 'trusted', by), caReplacement(node, 'trusted', [by])],
      etcdRestart(context, [by]),
    ),
    membersTask(context),
    apiServerTask(context),
  ];
}

function etcdRestart(
  context: CheckContext,
  trusted: readonly RolloverSide[],
): Pick<FileTask, 'restart' | 'check'> {
  return {
    restart: { component: 'etcd', reads: [caPath(context.node, 'trusted')] },
    check: async (signal) => requireTrust(context, trusted, signal),
  };
}

/**
 * A task without files, so that nothing is restored. With the files of this node, its member would
 * restart once more while another member is down, and the cluster could lose its majority.
 */
function membersTask(context: CheckContext): FileTask {
  return fileTask('etcd members', [], {
    check: async (signal) => requireMembers(context, signal),
  });
}

/** kube-apiserver reads the CAs of etcd only when it starts. */
export function apiServerTask(
  context: CheckContext,
  replacements: readonly Replacement[] = [],
): FileTask {
  return fileTask('kube-apiserver', replacements, {
    restart: { component: 'kube-apiserver', reads: [caPath(context.node, 'trusted')] },
    check: async (signal) => requireApiServer(context, signal),
  });
}

async function clientTask(
  context: CheckContext,
  name: PairName,
  by: RolloverSide,
): Promise<FileTask> {
  return fileTask(name, [await renewal(context, name, by)], {
    check: async (signal) => requireAccepted(context, { name, by: 'this member' }, signal),
  });
}

async function serverTask(context: CheckContext, by: RolloverSide): Promise<FileTask> {
  return servingTask(context, { name: 'etcd-server', port: 'local', by });
}

async function peerTask(context: CheckContext, by: RolloverSide): Promise<FileTask> {
  const name = 'etcd-peer';
  return servingTask(context, { name, port: 'localPeer', by }, async (signal) =>
    requireAccepted(context, { name, by: 'the other members' }, signal),
  );
}

/** The health of a member comes through a gateway that is a client with its serving certificate. */
async function servingTask(
  context: CheckContext,
  {
    name,
    port,
    by,
  }: {
    readonly name: PairName;
    readonly port: 'local' | 'localPeer';
    readonly by: RolloverSide;
  },
  requireMore?: FileTask['check'],
): Promise<FileTask> {
  const path = pairPath(context.node, name);
  return fileTask(name, [await renewal(context, name, by)], {
    check: async (signal) => {
      const server = accessOf(context.node)[port];
      await requireServedAt(context, { component: 'etcd', server, path }, signal);
      await requireMore?.(signal);
      await requireTrust(context, bothCas, signal);
      await requireMembers(context, signal);
    },
  });
}

async function renewal(
  { node, clock }: CheckContext,
  name: PairName,
  by: RolloverSide,
): Promise<Replacement> {
  return pairReplacement(node, name, { by, chain: [], now: clock.now() });
}
