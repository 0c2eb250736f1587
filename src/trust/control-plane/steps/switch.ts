import type { RolloverSide } from '../../cluster/gate.ts';
import { bothCas, caReplacement, issuerFirst, keyReplacement, requireKey } from '../ca-files.ts';
import type { CheckContext } from '../check.ts';
import { requireClientTrust } from '../client-trust.ts';
import { requireServed } from '../served-chain.ts';
import { requireSigningPair } from '../signing-pair.ts';
import { pairPath, pairReplacement } from '../leaf.ts';
import { rolloverFiles } from '../step-flags.ts';
import { bridgeOf } from '../node-files.ts';
import { fileTask } from '../replacement.ts';
import type { FileTask } from '../task.ts';
import { otherTrustFiles } from '../trust-files.ts';
import { administratorTasks, managerTask, schedulerTask } from './restarted.ts';

/** The new CA issues, and both CAs stay trusted. */
export async function switchTasks(context: CheckContext): Promise<FileTask[]> {
  return issuingTasks(context, 'next');
}

/**
 * The reverse: the old CA issues again. Every client trusts both CAs, so its certificates need no bridge.
 * `ca-previous` stays: it shows that certificates from the new CA may be in use.
 */
export async function switchBackTasks(context: CheckContext): Promise<FileTask[]> {
  return issuingTasks(context, 'old');
}

async function issuingTasks(context: CheckContext, by: RolloverSide): Promise<FileTask[]> {
  const { node, clock } = context;
  const now = clock.now();
  const wish = { trusted: bothCas, by, now };
  requireKey(node, by);
  const bridge = by === 'next' ? bridgeOf(node) : undefined;
  const chain = bridge === undefined ? [] : [bridge];
  return [
    fileTask('apiserver-kubelet-client', [
      await pairReplacement(node, 'apiserver-kubelet-client', { by, chain: [], now }),
    ]),
    fileTask('apiserver', [await pairReplacement(node, 'apiserver', { by, chain, now })], {
      check: async (signal) => requireServed(context, pairPath(node, 'apiserver'), signal),
    }),
    fileTask(
      'signing files',
      [
        caReplacement(node, 'previous', ['old']),
        ...(node.old.key === undefined ? [] : [await keyReplacement(node, 'previous', 'old')]),
        caReplacement(node, 'signing', [by]),
        await keyReplacement(node, 'signing', by),
        caReplacement(node, 'bundle', bothCas),
        await keyReplacement(node, 'trusted', by),
        caReplacement(node, 'trusted', issuerFirst[by]),
        ...(await otherTrustFiles(node, bothCas)),
      ],
      {
        check: async (signal) => {
          await requireSigningPair(node, 'signing');
          await requireClientTrust(context, bothCas, signal);
        },
      },
    ),
    await managerTask(context, rolloverFiles, wish),
    await schedulerTask(context, wish),
    ...(await administratorTasks(node, wish)),
  ];
}
