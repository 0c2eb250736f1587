import { AgentError } from '../../../core/errors.ts';
import { keyFileOf } from '../../../pki/layout.ts';
import { exists } from '../../../sys/exists.ts';
import type { RolloverSide } from '../../cluster/gate.ts';
import { caReplacement, issuerFirst, keyReplacement } from '../ca-files.ts';
import type { CheckContext } from '../check.ts';
import { requireKubeletTrust, requireServerTrust } from '../client-trust.ts';
import { requireServed } from '../served-chain.ts';
import { chainReplacement, readLeaf } from '../leaf.ts';
import type { CaFile, RolloverNode } from '../node-files.ts';
import { bridgeOf, caPath } from '../node-files.ts';
import { fileTask, removal } from '../replacement.ts';
import { hasOwnClients, serverFlags, usualFiles } from '../step-flags.ts';
import type { FileTask } from '../task.ts';
import { otherTrustFiles } from '../trust-files.ts';
import { administratorTasks, managerTask, plannedFlags, schedulerTask } from './restarted.ts';

/**
 * This node trusts the new CA alone, with the file names and flags of kubeadm. To keep absent nodes,
 * kube-apiserver still accepts clients of the old CA, and sends the bridge.
 */
export async function finishTasks(context: CheckContext): Promise<FileTask[]> {
  return [...(await aloneTasks(context, 'next')), await servedTask(context)];
}

/** This node trusts one CA alone, which has issued its certificates. */
export async function aloneTasks(context: CheckContext, by: RolloverSide): Promise<FileTask[]> {
  const { node, clock, keepsAbsentNodes } = context;
  const alone = [by];
  const wish = { trusted: alone, by, now: clock.now() };
  return [
    ...(await clientTasks(context)),
    fileTask(
      'trusted CAs',
      [
        await keyReplacement(node, 'trusted', by),
        caReplacement(node, 'trusted', alone),
        ...(await otherTrustFiles(node, alone)),
      ],
      {
        check: async (signal) => {
          await requireServerTrust(
            context,
            keepsAbsentNodes === true ? issuerFirst.next : alone,
            signal,
          );
          await requireKubeletTrust(context, alone, signal);
        },
      },
    ),
    await managerTask(context, usualFiles, wish),
    await schedulerTask(context, wish),
    ...(await administratorTasks(node, wish)),
  ];
}

/**
 * kube-apiserver gets a file of its own for clients before `ca.crt` loses the old CA. Without absent
 * nodes to keep, it gets the usual file again.
 */
async function clientTasks(context: CheckContext): Promise<FileTask[]> {
  const { node, clock, keepsAbsentNodes = false } = context;
  if (!keepsAbsentNodes && (node.found.clients === undefined || hasOwnClients(node))) return [];
  const wanted = serverFlags(keepsAbsentNodes ? 'clients' : 'trusted', node);
  const { flags, isOutdated, requireRunning } = await plannedFlags(node, wanted, clock.now());
  const clients = keepsAbsentNodes ? [caReplacement(node, 'clients', issuerFirst.next)] : [];
  return [
    fileTask('kube-apiserver', [...clients, flags], {
      restart: { component: 'kube-apiserver', reads: [], isOutdated },
      check: async (signal) => {
        await requireRunning();
        if (keepsAbsentNodes) await requireServerTrust(context, issuerFirst.next, signal);
      },
    }),
  ];
}

async function servedTask(context: CheckContext): Promise<FileTask> {
  const { node, keepsAbsentNodes } = context;
  const leaf = await readLeaf(node, 'apiserver');
  if (leaf === undefined) throw new AgentError('INTERNAL', 'the certificate apiserver is missing');
  const bridge = keepsAbsentNodes === true ? bridgeOf(node) : undefined;
  const chain = bridge === undefined ? [] : [bridge];
  return fileTask('apiserver', [chainReplacement(node, leaf, chain)], {
    check: async (signal) => requireServed(context, leaf.path, signal),
  });
}

/**
 * The removed CA comes last, or the file that still has it: while it exists, a step that was interrupted
 * shows which CA is the old one and which is the new one.
 */
export const removedFiles = {
  finish: ['signing', 'bundle', 'bridge', 'next', 'previous', 'clients'],
  abort: ['signing', 'bundle', 'bridge', 'clients', 'previous', 'next'],
} as const satisfies Readonly<Record<'finish' | 'abort', readonly CaFile[]>>;

const filesForAbsentNodes: readonly CaFile[] = ['bridge', 'clients'];

/** Removes files that only a rollover needs, in this order. */
export async function removalTask(
  { node, keepsAbsentNodes }: CheckContext,
  wanted: readonly CaFile[],
): Promise<FileTask> {
  const stay = keepsAbsentNodes === true ? filesForAbsentNodes : [];
  const removed = wanted.filter((file) => !stay.includes(file));
  const paths = removed.flatMap((file) => {
    const path = caPath(node, file);
    return [keyFileOf(path), path];
  });
  const present = await Promise.all(paths.map(async (path) => isPresent(node, path)));
  const files = paths.filter((_, at) => present[at]);
  return fileTask(
    'files of the rollover',
    files.map((path) => removal(node.tree, path)),
  );
}

async function isPresent({ tree }: RolloverNode, path: string): Promise<boolean> {
  return exists((await tree.locate(path)).physical);
}
