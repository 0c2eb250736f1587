import type { Plan } from '../adopt/plan.ts';
import { stepDiff } from '../adopt/step-diff.ts';
import type { ExitCode, ExitCodeMeanings } from './exit-code.ts';
import { commonExitCodes, exitCodes } from './exit-code.ts';

export type AdoptState = 'nothing-to-do' | 'pending' | 'blocked' | 'done';

export interface AdoptReport {
  readonly action: 'adopt' | 'revert';
  readonly plan: Plan;
  /** True when the changes of the plan were made. */
  readonly done: boolean;
  readonly restarted: boolean;
  readonly nodeName: string;
  readonly certificateDirectory: string;
  /** The folder of an image; absent on the node itself. */
  readonly root?: string;
}

export const adoptExitCodes: ExitCodeMeanings = {
  ...commonExitCodes,
  0: 'nothing to do, or done',
  3: 'changes are pending: --yes makes them',
  4: 'refused: each reason is printed with its remedy',
};

export function adoptState({ plan, done }: Pick<AdoptReport, 'plan' | 'done'>): AdoptState {
  if (done) return 'done';
  const { steps, obstacles, notes, restart } = plan;
  if (obstacles.length > 0) return 'blocked';
  const cutShort = notes.some(({ id }) => id === 'cut-short');
  return steps.length > 0 || restart !== undefined || cutShort ? 'pending' : 'nothing-to-do';
}

export function adoptExitCode(report: AdoptReport): ExitCode {
  const codes = {
    'nothing-to-do': exitCodes.fine,
    done: exitCodes.fine,
    pending: exitCodes.expiring,
    blocked: exitCodes.expired,
  } as const satisfies Readonly<Record<AdoptState, ExitCode>>;
  return codes[adoptState(report)];
}

/** The stable form for `-o json` and `-o yaml`. */
export function adoptDocument(report: AdoptReport): Record<string, unknown> {
  const { action, plan, restarted, nodeName, certificateDirectory, root } = report;
  return {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'AdoptionPlan',
    action,
    state: adoptState(report),
    nodeName,
    certificateDirectory,
    root,
    steps: plan.steps.map((step) => ({
      id: step.id,
      file: step.file,
      what: step.what,
      why: step.why,
      diff: stepDiff(step),
    })),
    restart: plan.restart && { ...plan.restart, done: restarted },
    obstacles: plan.obstacles,
    notes: plan.notes,
  };
}
