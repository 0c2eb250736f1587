import type { CheckContext } from '../check.ts';
import { latestStep } from '../stage.ts';
import type { FileTask } from '../task.ts';
import { aloneTasks } from './finish.ts';
import { switchBackTasks } from './switch.ts';

/**
 * One stage back. After `switch`, the old CA issues again, and both CAs stay trusted. Before that, this
 * node trusts the old CA alone, with the file names and flags of kubeadm. The files come from the CAs and
 * not from copies, so this works also after `kubeadm certs renew`.
 */
export async function abortTasks(context: CheckContext): Promise<FileTask[]> {
  const latest = await latestStep(context.node);
  return latest === 'switch' ? switchBackTasks(context) : aloneTasks(context, 'old');
}
