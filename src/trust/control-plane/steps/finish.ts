import { AgentError } from '../../../core/errors.ts';
import { keyFileOf } from '../../../pki/layout.ts';
import { exists } from '../../../sys/exists.ts';
import type { RolloverSide } from '../../cluster/gate.ts';
import { caReplacement, keyReplacement } from '../ca-files.ts';
import type { CheckContext } from '../check.ts';
import { requireClientTrust } from '../client-trust.ts';
import { requireServed } from '../served-chain.ts';
import { chainReplacement, readLeaf } from '../leaf.ts';
import { usualFiles } from '../manager-flags.ts';
import type { CaFile, RolloverNode } from '../node-files.ts';
import { caPath } from '../node-files.ts';
import { fileTask, removal } from '../replacement.ts';
import type { FileTask } from '../task.ts';
import { otherTrustFiles } from '../trust-files.ts';
import { administratorTasks, managerTask, schedulerTask } from './restarted.ts';

/** This node trusts the new CA alone, with the file names and flags of kubeadm. */
export async function finishTasks(context: CheckContext): Promise<FileTask[]> {
  return [...(await aloneTasks(context, 'next')), await withoutBridge(context)];
}

/** This node trusts one CA alone, which has issued its certificates. */
export async function aloneTasks(context: CheckContext, by: RolloverSide): Promise<FileTask[]> {
  const { node, clock } = context;
  const alone = [by];
  const wish = { trusted: alone, by, now: clock.now() };
  return [
    fileTask(
      'trusted CAs',
      [
        await keyReplacement(node, 'trusted', by),
        caReplacement(node, 'trusted', alone),
        ...(await otherTrustFiles(node, alone)),
      ],
      { check: async (signal) => requireClientTrust(context, alone, signal) },
    ),
    await managerTask(context, usualFiles, wish),
    await schedulerTask(context, wish),
    ...(await administratorTasks(node, wish)),
  ];
}

async function withoutBridge(context: CheckContext): Promise<FileTask> {
  const leaf = await readLeaf(context.node, 'apiserver');
  if (leaf === undefined) throw new AgentError('INTERNAL', 'the certificate apiserver is missing');
  return fileTask('apiserver', [chainReplacement(context.node, leaf, [])], {
    check: async (signal) => requireServed(context, leaf.path, signal),
  });
}

/**
 * The removed CA comes last: while its file exists, a step that was interrupted shows which CA is the
 * old one and which is the new one.
 */
const removedFiles = {
  next: ['signing', 'bundle', 'bridge', 'next', 'previous'],
  old: ['signing', 'bundle', 'bridge', 'previous', 'next'],
} as const satisfies Readonly<Record<RolloverSide, readonly CaFile[]>>;

/** The files that only a rollover needs. @param kept the CA that stays */
export async function removalTask(
  { node }: CheckContext,
  kept: RolloverSide = 'next',
): Promise<FileTask> {
  const paths = removedFiles[kept].flatMap((file) => {
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
