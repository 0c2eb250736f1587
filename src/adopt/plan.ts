/** What a plan may do. The ids are stable: scripts are written against them. */
export const stepIds = [
  'kubeconfig',
  'kubelet-drop-in',
  'kubelet-config',
  'kubelet-flags',
  'restored',
  'removed',
] as const;
export type StepId = (typeof stepIds)[number];

/** One file and what becomes of it. */
export interface Step {
  readonly id: StepId;
  /** As the node sees it. */
  readonly file: string;
  readonly what: string;
  readonly why: string;
  /** How secrets in it are found, when it is shown. */
  readonly form: 'yaml' | 'text';
  /** Absent when there is no file, before or after. */
  readonly before?: string;
  readonly after?: string;
  /** Of the new file; that of the old one when absent. */
  readonly mode?: number;
}

/** Why an adoption is refused; each is explained in docs/adopt.md. */
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

/** What is worth knowing, and stops nothing. */
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

/** That the kubelet has to be started anew, and how. */
export interface Restart {
  readonly why: string;
  /** Absent when nothing is known that restarts it. */
  readonly unit?: string;
  readonly command: string;
}

export interface Plan {
  readonly steps: readonly Step[];
  readonly obstacles: readonly Obstacle[];
  readonly notes: readonly Note[];
  readonly restart?: Restart;
}

/** A part of a plan, by whoever looks at one side of it. */
export interface PlanPart {
  readonly steps?: readonly Step[];
  readonly obstacles?: readonly Obstacle[];
  readonly notes?: readonly Note[];
}
