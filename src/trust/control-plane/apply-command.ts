import type { Step } from './task.ts';

/** The command that does a step on this node. */
export function applyCommand(step: Step): string {
  return `nodecertd ca-rollover apply ${step} --ca kubernetes`;
}

/**
 * The command that writes the files of a control-plane node of kubeadm again, as they should be at
 * this stage of the rollover.
 * @param isNextInUse the new CA has issued a certificate
 */
export function repairCommand(isNextInUse: boolean): string {
  return applyCommand(isNextInUse ? 'switch' : 'trust');
}
