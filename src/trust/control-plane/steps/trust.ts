import { bothCas, caReplacement, keyReplacement } from '../ca-files.ts';
import type { CheckContext } from '../check.ts';
import { requireClientTrust } from '../client-trust.ts';
import { rolloverFiles } from '../step-flags.ts';
import { fileTask } from '../replacement.ts';
import type { FileTask } from '../task.ts';
import { otherTrustFiles } from '../trust-files.ts';
import { administratorTasks, managerTask, schedulerTask } from './restarted.ts';

/**
 * This node trusts both CAs, and the old CA still issues. kube-controller-manager gets a signing file of
 * its own before `ca.crt` has two certificates: with two, it would sign nothing.
 */
export async function trustTasks(context: CheckContext): Promise<FileTask[]> {
  const { node, clock } = context;
  const wish = { trusted: bothCas, now: clock.now() };
  return [
    fileTask('signing files', [
      caReplacement(node, 'signing', ['old']),
      await keyReplacement(node, 'signing', 'old'),
      caReplacement(node, 'bundle', bothCas),
    ]),
    await managerTask(context, rolloverFiles, wish),
    fileTask(
      'trusted CAs',
      [
        caReplacement(node, 'trusted', bothCas),
        await keyReplacement(node, 'trusted', 'old'),
        ...(await otherTrustFiles(node, bothCas)),
      ],
      { check: async (signal) => requireClientTrust(context, bothCas, signal) },
    ),
    await schedulerTask(context, wish),
    ...(await administratorTasks(node, wish)),
  ];
}
