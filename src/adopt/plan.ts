/** The kinds of change. The ids are stable, because scripts depend on them. */
export const stepIds = [
  'cluster-ca',
  'kubeconfig',
  'kubelet-drop-in',
  'kubelet-config',
  'restored',
  'removed',
] as const;
export type StepId = (typeof stepIds)[number];

/** The change of one file. */
export interface Step {
  readonly id: StepId;
  /** The path on the node, also for an image. */
  readonly file: string;
  readonly what: string;
  readonly why: string;
  /** Determines how stepDiff() redacts secrets. */
  readonly form: 'yaml' | 'text';
  /** Absent when there is no file. */
  readonly before?: string;
  readonly after?: string;
  /** The mode of the new file; the old mode when absent. */
  readonly mode?: number;
}

/** The reasons to refuse an adoption; docs/adopt.md explains each. */
export const obstacleIds = [
  'several-kubelets',
  'kubelet-unclear',
  'kubelet-standalone',
  'command-line-differs',
  'nothing-kept',
  'node-name',
  'certificate-directory',
  'kubeconfig-path',
  'kubelet-config-missing',
  'kubelet-config-invalid',
  'kubelet-config-uneditable',
  'drop-in-folder',
  'drop-in-overrides',
  'kubelet-flag',
  'kubeconfig-missing',
  'kubeconfig-invalid',
  'kubeconfig-unsupported',
  'kubeconfig-uneditable',
  'rotation-half-done',
  'client-pair',
  'serving-pair',
  'changed-since',
  'restored-credential',
] as const;
export type ObstacleId = (typeof obstacleIds)[number];

/** Facts for the operator that do not prevent an adoption. */
export const noteIds = [
  'command-line-unknown',
  'bootstrap-kubeconfig',
  'kubelet-config-path',
  'node-name-unknown',
  'agent-not-running',
  'agent-running',
  'agent-bootstraps',
  'kubelet-not-running',
  'self-signed',
  'first-start',
  'kubeadm-upgrade',
  'cut-short',
] as const;
export type NoteId = (typeof noteIds)[number];

export interface Remark<Id extends string> {
  readonly id: Id;
  /** One sentence without a final period. */
  readonly what: string;
  readonly why?: string;
  readonly remedy: string;
}

export type Obstacle = Remark<ObstacleId>;
export type Note = Remark<NoteId>;

/** The restart after which the kubelet uses the changed files. */
export interface Restart {
  readonly why: string;
  /** Absent when the service of the kubelet is unknown. */
  readonly unit?: string;
  readonly command: string;
}

export interface Plan {
  readonly steps: readonly Step[];
  readonly obstacles: readonly Obstacle[];
  readonly notes: readonly Note[];
  readonly restart?: Restart;
}

/** The part of a plan that one check or one change contributes. */
export interface PlanPart {
  readonly steps?: readonly Step[];
  readonly obstacles?: readonly Obstacle[];
  readonly notes?: readonly Note[];
}

export function refuse(obstacle: Obstacle): PlanPart {
  return { obstacles: [obstacle] };
}

/** Drops the results of checks that found nothing. */
export function found<T>(...remarks: readonly (T | undefined)[]): T[] {
  return remarks.filter((remark) => remark !== undefined);
}
