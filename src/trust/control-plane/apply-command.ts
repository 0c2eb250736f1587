import { rolloverCommand } from '../../pki/renewal/rollover-runs.ts';
import type { CaName, Step } from './task.ts';

/** The command that does a step on this node. */
export function applyCommand(step: Step, ca: CaName): string {
  return rolloverCommand({ step, ca });
}

/** How a cluster returns to the old CA once an API server rejects its certificates. */
export const rolloverBack = `Complete the step finish on each node: ${applyCommand('finish', 'kubernetes')}; then begin a rollover to the old CA, with its ca.crt and ca.key in a folder: ${applyCommand('create', 'kubernetes')} --import DIR`;

/**
 * The command that writes the files of a control-plane node of kubeadm again, as they should be at
 * this stage of the rollover of the CA `kubernetes`.
 * @param isNextInUse the new CA has issued a certificate
 */
export function repairCommand(isNextInUse: boolean): string {
  return applyCommand(isNextInUse ? 'switch' : 'trust', 'kubernetes');
}
