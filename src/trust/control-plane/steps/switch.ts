import { caReplacement, keyReplacement, requireKey } from '../ca-files.ts';
import type { CheckContext } from '../check.ts';
import { requireClientTrust } from '../client-trust.ts';
import { requireServed } from '../served-chain.ts';
import { requireSigningPair } from '../signing-pair.ts';
import { pairPath, pairReplacement } from '../leaf.ts';
import { rolloverFiles } from '../manager-manifest.ts';
import { bridgeOf } from '../node-files.ts';
import { fileTask } from '../replacement.ts';
import type { FileTask } from '../task.ts';
import { otherTrustFiles } from '../trust-files.ts';
import { administratorTasks, managerTask, schedulerTask } from './restarted.ts';

const both = ['old', 'next'] as const;
/** kubeadm signs with the first certificate of `ca.crt`, and its key is `ca.key`. */
const nextFirst = ['next', 'old'] as const;

/** The new CA issues, and both CAs stay trusted. */
export async function switchTasks(context: CheckContext): Promise<FileTask[]> {
  const { node, clock } = context;
  const now = clock.now();
  const wish = { trusted: both, byNext: true, now };
  requireKey(node, 'next');
  const bridge = bridgeOf(node);
  const chain = bridge === undefined ? [] : [bridge];
  return [
    fileTask('apiserver-kubelet-client', [
      await pairReplacement(node, 'apiserver-kubelet-client', { chain: [], now }),
    ]),
    fileTask('apiserver', [await pairReplacement(node, 'apiserver', { chain, now })], {
      check: async (signal) => requireServed(context, pairPath(node, 'apiserver'), signal),
    }),
    fileTask(
      'signing files',
      [
        caReplacement(node, 'previous', ['old']),
        ...(node.old.key === undefined ? [] : [await keyReplacement(node, 'previous', 'old')]),
        caReplacement(node, 'signing', ['next']),
        await keyReplacement(node, 'signing', 'next'),
        caReplacement(node, 'bundle', both),
        await keyReplacement(node, 'trusted', 'next'),
        caReplacement(node, 'trusted', nextFirst),
        ...(await otherTrustFiles(node, both)),
      ],
      {
        check: async (signal) => {
          await requireSigningPair(node, 'signing');
          await requireClientTrust(context, both, signal);
        },
      },
    ),
    await managerTask(context, rolloverFiles, wish),
    await schedulerTask(context, wish),
    ...(await administratorTasks(node, wish)),
  ];
}
