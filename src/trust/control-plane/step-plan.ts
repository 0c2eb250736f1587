import type { KubeClient } from '../../kube/rest-client.ts';
import type { RenewalRequest } from '../../pki/renewal/renewal.ts';
import type { Gate, GateReason, StepGateId } from '../cluster/gate.ts';
import type { CaName, Step, StepTask } from './task.ts';

/** A control-plane node, and a client with the credential of an administrator. */
export interface StepRequest extends RenewalRequest {
  readonly ca: CaName;
  readonly client: KubeClient;
  readonly hostName: string;
  /** The addresses of this machine. */
  readonly addresses: ReadonlySet<string>;
  /** With `switch`: the folder with certificates from the new CA. */
  readonly importFrom?: string;
}

/** What a step does on this node, from its files and from the cluster. Nothing is stored about it. */
export interface StepPlan {
  readonly step: Step;
  readonly nodeName: string;
  readonly tasks: readonly StepTask[];
  /** The components that the tasks restart, also if only their process is older than a file. */
  readonly restarts: readonly string[];
  /** The gates that the step needs. */
  readonly gates: readonly Gate<StepGateId>[];
  /** Why the step may not begin. */
  readonly refusals: readonly GateReason[];
  /** What the administrator has to know. */
  readonly notes: readonly string[];
  /** What the administrator has to know of the new files, once the step is done. */
  readonly notesAfter?: () => Promise<readonly string[]>;
  /** What the administrator runs afterward. */
  readonly commands: readonly string[];
}

/** True if nothing has to change. */
export function isComplete({ tasks, restarts }: Pick<StepPlan, 'tasks' | 'restarts'>): boolean {
  if (restarts.length > 0) return false;
  return tasks.every((task) => (task.kind === 'files' ? task.files.length === 0 : task.isDone));
}
