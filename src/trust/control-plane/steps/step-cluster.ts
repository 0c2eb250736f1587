import type { Gate, GateReason, StepGateId } from '../../cluster/gate.ts';
import type { RolloverQuestion } from '../../cluster/rollover.ts';
import type { ControlPlaneNodes } from '../control-plane-nodes.ts';
import type { RolloverNode } from '../node-files.ts';
import type { NodeStepName } from '../node-step.ts';
import type { StepRequest } from '../step-plan.ts';
import type { ClusterTask, Stage } from '../task.ts';

/** How the gates are judged, as in `ca-rollover status`. */
export interface GateOptions extends Pick<
  RolloverQuestion,
  'keyFiles' | 'confirmed' | 'dial' | 'auditLogs' | 'onStep'
> {
  /** With one or two members of etcd, its restart stops all writes for a time. */
  readonly acceptsEtcdInterruption?: boolean;
  /** Called with what the step waits for. */
  readonly onWait: (what: string) => void;
  /** With `finish`: nodes that were absent all the time can return. */
  readonly keepsAbsentNodes?: boolean;
}

export interface StepClusterQuestion {
  readonly step: NodeStepName;
  readonly node: RolloverNode;
  readonly request: StepRequest;
  readonly options: GateOptions;
  /** The node has done the step before, and its files or components may be broken. */
  readonly isRepair?: boolean;
}

/** The step `abort`. */
export interface AbortQuestion extends Omit<StepClusterQuestion, 'step' | 'isRepair'> {
  /** The step from which the node goes back. */
  readonly latest: Stage;
}

/** What a step of one CA changes in the cluster, and what it needs from the cluster. */
export interface StepCluster {
  readonly nodes: ControlPlaneNodes;
  /** Before the files of the node. */
  readonly firstTasks?: readonly ClusterTask[];
  /** In order, after the files of the node. */
  readonly tasks: readonly ClusterTask[];
  readonly notes: readonly string[];
  /** Called only if something has to change. @param restarts the components that the step restarts */
  readonly judge: (restarts: readonly string[]) => Promise<Judgement>;
}

/** Why the step may not begin, for which a repair of `switch` does not wait, and what comes after it. */
export interface Judgement {
  /** The gates that the step needs. */
  readonly gates: readonly Gate<StepGateId>[];
  /** Other reasons. */
  readonly reasons: readonly GateReason[];
  /** What the administrator runs afterward. */
  readonly commands: readonly string[];
}
