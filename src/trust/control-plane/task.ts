import type { ComponentName } from '../../pki/components/component.ts';
import type { NewChange } from '../../store/run-folder.ts';

/** The CAs of a cluster that a rollover can replace, by the values of `--ca`. */
export const caNames = ['kubernetes', 'etcd', 'front-proxy'] as const;
export type CaName = (typeof caNames)[number];

/** The steps of a CA rollover on control-plane nodes, in order. */
export const stages = ['create', 'trust', 'switch', 'finish'] as const;
/** The latest of them that has begun on a node. */
export type Stage = (typeof stages)[number];

/** `abort` goes back by one stage. */
export const steps = [...stages, 'abort'] as const;
export type Step = (typeof steps)[number];

/** New contents of files, which may be keys. Disposing them wipes the contents. */
export interface NewFiles extends Disposable {
  /** In the order in which the files are replaced. Files without new content are removed last. */
  readonly changes: readonly NewChange[];
}

/**
 * Part of a step on this node: files that are replaced together, and what has to use them. It is
 * made from the files of the node, so that a repeated step finds what is missing. Two tasks of a step
 * change different files.
 */
export interface FileTask {
  readonly kind: 'files';
  /**
   * As in `signing files`: the item in the manifest of the run, and the line in the plan. A task that
   * restarts a component has its name, so that an undo restarts the unit too.
   */
  readonly name: string;
  /**
   * The files that change, with the new content in words, such as `the old and the new CA`. Empty if
   * all files have this content.
   */
  readonly files: readonly { readonly path: string; readonly content: string }[];
  /** Called only if files change. Keys exist only from here until the result is disposed. */
  readonly make: () => Promise<NewFiles>;
  /**
   * Reads these files only when it starts. It restarts when the task changes files, and if its process
   * is older than one of them. If the task changes the manifest of its pod, that is the restart.
   */
  readonly restart?: {
    readonly component: ComponentName;
    readonly reads: readonly string[];
    /** Its process has other flags than its unit. */
    readonly isOutdated?: boolean;
  };
  /**
   * Proves that what runs uses the files. Called after the restart, also if nothing had to change. An
   * error restores the files of this task.
   */
  readonly check?: (signal: AbortSignal) => Promise<void>;
}

/** A change of an object in the cluster. */
export interface ClusterTask {
  readonly kind: 'cluster';
  /** As in `cluster-info`. */
  readonly name: string;
  /** The new content in words. */
  readonly content: string;
  readonly isDone: boolean;
  /** Reports the files of the node, so an undo does it after it has restored them. */
  readonly isReport?: boolean;
  readonly run: (signal: AbortSignal) => Promise<void>;
}

export type StepTask = FileTask | ClusterTask;
