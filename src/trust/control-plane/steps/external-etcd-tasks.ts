import type { GateReason } from '../../cluster/gate.ts';
import { bothCas, caReplacement, issuerFirst } from '../ca-files.ts';
import type { CheckContext } from '../check.ts';
import { requireAccepted } from '../etcd/checks.ts';
import { hasExternalEtcd } from '../etcd/support.ts';
import { howToImport } from '../imported-pair.ts';
import { pairReplacement, readLeaf } from '../leaf.ts';
import { fileTask } from '../replacement.ts';
import type { FileTask } from '../task.ts';
import { apiServerTask } from './etcd-tasks.ts';

/**
 * The steps of the CA `etcd` on a node whose kube-apiserver uses etcd on other machines. The node never has
 * the key of the CA: with it, an intruder could become a member of etcd.
 */
export async function externalTrustTasks(context: CheckContext): Promise<FileTask[]> {
  return [apiServerTask(context, [caReplacement(context.node, 'trusted', bothCas)])];
}

/** The only certificate from the CA of external etcd on this node. */
export const clientName = 'apiserver-etcd-client';

/** Why `switch` cannot get its certificate: only with external etcd, another machine issues it. */
export async function importObstacles({
  node,
  importFrom,
}: Pick<CheckContext, 'node' | 'importFrom'>): Promise<GateReason[]> {
  if (!hasExternalEtcd(node)) return importFrom === undefined ? [] : [needlessImport];
  const leaf = await readLeaf(node, clientName);
  if (importFrom !== undefined || leaf?.by === 'next') return [];
  const message = `the new CA has not issued ${clientName} yet, and its key is not on this node`;
  return [{ state: 'waiting', message, remedy: howToImport(node, clientName) }];
}

const needlessImport: GateReason = {
  state: 'waiting',
  message: 'this node has the key of the new CA, and issues the certificates itself',
  remedy: 'Run this command without --import, which is only for external etcd',
};

/** kube-apiserver reads its certificate at each handshake. */
export async function externalSwitchTasks(context: CheckContext): Promise<FileTask[]> {
  const { node, clock, importFrom } = context;
  const name = clientName;
  const pair = await pairReplacement(node, name, {
    by: 'next',
    chain: [],
    now: clock.now(),
    ...(importFrom !== undefined && { importFrom }),
  });
  return [
    fileTask('previous CA', [caReplacement(node, 'previous', ['old'])]),
    fileTask(name, [pair], {
      check: async (signal) => requireAccepted(context, { name, by: 'external etcd' }, signal),
    }),
    fileTask('order of the CAs', [caReplacement(node, 'trusted', issuerFirst.next)]),
  ];
}

export async function externalFinishTasks(context: CheckContext): Promise<FileTask[]> {
  return [apiServerTask(context, [caReplacement(context.node, 'trusted', ['next'])])];
}
