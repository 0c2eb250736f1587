import { caReplacement, keyReplacement } from '../ca-files.ts';
import type { CheckContext } from '../check.ts';
import { requireClientTrust } from '../client-trust.ts';
import { rolloverFiles } from '../manager-flags.ts';
import { fileTask } from '../replacement.ts';
import type { FileTask } from '../task.ts';
import { otherTrustFiles } from '../trust-files.ts';
import { administratorTasks, managerTask, schedulerTask } from './restarted.ts';

const both = ['old', 'next'] as const;

/**
 * This node trusts both CAs, and the old CA still issues. kube-controller-manager gets a signing file of
 * its own before `ca.crt` has two certificates: with two, it would sign nothing.
 */
export async function trustTasks(context: CheckContext): Promise<FileTask[]> {
  const { node, clock } = context;
  const wish = { trusted: both, now: clock.now() };
  return [
    fileTask('signing files', [
      caReplacement(node, 'signing', ['old']),
      await keyReplacement(node, 'signing', 'old'),
      caReplacement(node, 'bundle', both),
    ]),
    await managerTask(context, rolloverFiles, wish),
    fileTask(
      'trusted CAs',
      [
        caReplacement(node, 'trusted', both),
        await keyReplacement(node, 'trusted', 'old'),
        ...(await otherTrustFiles(node, both)),
      ],
      { check: async (signal) => requireClientTrust(context, both, signal) },
    ),
    await schedulerTask(context, wish),
    ...(await administratorTasks(node, wish)),
  ];
}
