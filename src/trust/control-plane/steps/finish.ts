import { AgentError } from '../../../core/errors.ts';
import { keyFileOf } from '../../../pki/layout.ts';
import { exists } from '../../../sys/exists.ts';
import { caReplacement, keyReplacement } from '../ca-files.ts';
import type { CheckContext } from '../check.ts';
import { requireClientTrust } from '../client-trust.ts';
import { requireServed } from '../served-chain.ts';
import { chainReplacement, readLeaf } from '../leaf.ts';
import { usualFiles } from '../manager-manifest.ts';
import type { CaFile, RolloverNode } from '../node-files.ts';
import { caPath } from '../node-files.ts';
import { fileTask, removal } from '../replacement.ts';
import type { FileTask } from '../task.ts';
import { otherTrustFiles } from '../trust-files.ts';
import { administratorTasks, managerTask, schedulerTask } from './restarted.ts';

const nextAlone = ['next'] as const;

/** This node trusts the new CA alone, with the file names and flags of kubeadm. */
export async function finishTasks(context: CheckContext): Promise<FileTask[]> {
  const { node, clock } = context;
  const wish = { trusted: nextAlone, byNext: true, now: clock.now() };
  return [
    fileTask(
      'trusted CAs',
      [
        await keyReplacement(node, 'trusted', 'next'),
        caReplacement(node, 'trusted', nextAlone),
        ...(await otherTrustFiles(node, nextAlone)),
      ],
      { check: async (signal) => requireClientTrust(context, nextAlone, signal) },
    ),
    await managerTask(context, usualFiles, wish),
    await schedulerTask(context, wish),
    ...(await administratorTasks(node, wish)),
    await withoutBridge(context),
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
 * The previous CA comes last: while it exists, a step that was interrupted shows which CA was the old one.
 */
const removedFiles: readonly CaFile[] = ['signing', 'bundle', 'bridge', 'next', 'previous'];

/** The files that only a rollover needs. */
export async function removalTask({ node }: CheckContext): Promise<FileTask> {
  const paths = removedFiles.flatMap((file) => {
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
