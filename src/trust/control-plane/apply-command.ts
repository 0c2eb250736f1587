import { rolloverCommand } from '../../pki/renewal/rollover-runs.ts';
import type { CaName, Step } from './task.ts';

/** The command that does a step on this node. */
export function applyCommand(step: Step, ca: CaName): string {
  return rolloverCommand({ step, ca });
}

/**
 * The command that writes the files of a control-plane node of kubeadm again, as they should be at
 * this stage of the rollover of the CA `kubernetes`.
 * @param isNextInUse the new CA has issued a certificate
 */
export function repairCommand(isNextInUse: boolean): string {
  return applyCommand(isNextInUse ? 'switch' : 'trust', 'kubernetes');
}
