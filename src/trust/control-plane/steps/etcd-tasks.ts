import {
  bothCas,
  caReplacement,
  keyReplacement,
  nextAlone,
  nextFirst,
  requireKey,
} from '../ca-files.ts';
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
import { fileTask } from '../replacement.ts';
import { requireServedAt } from '../served-chain.ts';
import type { FileTask } from '../task.ts';

/** etcd and kube-apiserver of this node trust both CAs. Both read them only when they start. */
export async function etcdTrustTasks(context: CheckContext): Promise<FileTask[]> {
  const { node } = context;
  return [
    fileTask(
      'trusted CAs',
      [caReplacement(node, 'trusted', bothCas), await keyReplacement(node, 'trusted', 'old')],
      etcdRestart(context, bothCas),
    ),
    membersTask(context),
    apiServerTask(context),
  ];
}

/**
 * This node has certificates from the new CA, which etcd and kube-apiserver read at each handshake. The
 * peer certificate comes last: it shows the other nodes that this node has all certificates.
 */
export async function etcdSwitchTasks(context: CheckContext): Promise<FileTask[]> {
  const { node } = context;
  requireKey(node, 'next');
  return [
    fileTask('previous CA', [
      caReplacement(node, 'previous', ['old']),
      ...(node.old.key === undefined ? [] : [await keyReplacement(node, 'previous', 'old')]),
    ]),
    await clientTask(context, 'etcd-healthcheck-client'),
    await clientTask(context, 'apiserver-etcd-client'),
    await serverTask(context),
    await peerTask(context),
    // The same CAs in another order, so no component has to read them again.
    fileTask('signing CA', [
      await keyReplacement(node, 'trusted', 'next'),
      caReplacement(node, 'trusted', nextFirst),
    ]),
  ];
}

/** etcd and kube-apiserver of this node trust the new CA alone. */
export async function etcdFinishTasks(context: CheckContext): Promise<FileTask[]> {
  const { node } = context;
  return [
    fileTask(
      'trusted CAs',
      [await keyReplacement(node, 'trusted', 'next'), caReplacement(node, 'trusted', nextAlone)],
      etcdRestart(context, nextAlone),
    ),
    membersTask(context),
    apiServerTask(context),
  ];
}

function etcdRestart(
  context: CheckContext,
  trusted: typeof bothCas | typeof nextAlone,
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

function apiServerTask(context: CheckContext): FileTask {
  return fileTask('kube-apiserver', [], {
    restart: { component: 'kube-apiserver', reads: [caPath(context.node, 'trusted')] },
    check: async (signal) => requireApiServer(context, signal),
  });
}

async function clientTask(context: CheckContext, name: PairName): Promise<FileTask> {
  return fileTask(name, [await renewal(context, name)], {
    check: async (signal) => requireAccepted(context, { name, by: 'this member' }, signal),
  });
}

async function serverTask(context: CheckContext): Promise<FileTask> {
  return servingTask(context, { name: 'etcd-server', port: 'local' });
}

async function peerTask(context: CheckContext): Promise<FileTask> {
  const name = 'etcd-peer';
  return servingTask(context, { name, port: 'localPeer' }, async (signal) =>
    requireAccepted(context, { name, by: 'the other members' }, signal),
  );
}

/** The health of a member comes through a gateway that is a client with its serving certificate. */
async function servingTask(
  context: CheckContext,
  { name, port }: { readonly name: PairName; readonly port: 'local' | 'localPeer' },
  requireMore?: FileTask['check'],
): Promise<FileTask> {
  const path = pairPath(context.node, name);
  return fileTask(name, [await renewal(context, name)], {
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
): Promise<Awaited<ReturnType<typeof pairReplacement>>> {
  return pairReplacement(node, name, { chain: [], now: clock.now() });
}
