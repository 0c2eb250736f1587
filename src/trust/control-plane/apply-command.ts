import { rolloverCommand } from '../../pki/renewal/rollover-runs.ts';
import type { CaName, Step } from './task.ts';

/** The command that does a step on this node. */
export function applyCommand(step: Step, ca: CaName): string {
  return rolloverCommand({ step, ca });
}

/** The same on other nodes, with their names in a comment. */
export function applyOn(names: Iterable<string>, step: Step, ca: CaName): string[] {
  return [...names].map((name) => `${applyCommand(step, ca)} # on ${name}`);
}

/** How a cluster returns to the old CA once a server rejects its certificates. */
export function rolloverBack(ca: CaName): string {
  return `Complete the step finish on each node: ${applyCommand('finish', ca)}; then begin a rollover to the old CA, with its ca.crt and ca.key in a folder: ${applyCommand('create', ca)} --import DIR`;
}

/**
 * The command that writes the files of a control-plane node of kubeadm again, as they should be at
 * this stage of the rollover of the CA `kubernetes`.
 * @param isNextInUse the new CA has issued a certificate
 */
export function repairCommand(isNextInUse: boolean): string {
  return applyCommand(isNextInUse ? 'switch' : 'trust', 'kubernetes');
}
