import { formatDuration } from '../core/instant.ts';
import { stepGateNames } from '../trust/cluster/gate.ts';
import type { GateReason } from '../trust/cluster/gate.ts';
import type { AppliedStep } from '../trust/control-plane/apply.ts';
import type { StepPlan } from '../trust/control-plane/step-plan.ts';
import { isComplete } from '../trust/control-plane/step-plan.ts';
import type { CaName, StepTask } from '../trust/control-plane/task.ts';
import type { UndoPreview } from '../trust/control-plane/undo.ts';
import type { Run } from '../store/run-manifest.ts';
import { reasonExitCode } from './ca-rollover-report.ts';
import type { ExitCode } from './exit-code.ts';
import { exitCodes } from './exit-code.ts';
import { section } from './renewal-table.ts';
import { alignColumns, oneLine } from './text.ts';

/** A step on this node, planned or done. */
export interface StepReport {
  readonly plan: StepPlan;
  /** What `--undo` restores. */
  readonly restored?: UndoPreview;
  /** An earlier run that is completed or undone first. */
  readonly interrupted?: Run;
  /** Absent before the step. */
  readonly result?: AppliedStep;
}

type StepState = 'nothing-to-do' | 'planned' | 'refused' | 'done' | 'undone' | 'failed';

function stateOf({ plan, restored, interrupted, result }: StepReport): StepState {
  if (plan.refusals.length > 0) return 'refused';
  if (result?.failed !== undefined) return 'failed';
  if (result !== undefined) return restored === undefined ? 'done' : 'undone';
  const isNothing = isComplete(plan) && restored === undefined && interrupted === undefined;
  return isNothing ? 'nothing-to-do' : 'planned';
}

export function stepExitCode(report: StepReport): ExitCode {
  if (report.plan.refusals.length > 0) return reasonExitCode(report.plan.refusals);
  return report.result?.failed === undefined ? exitCodes.fine : exitCodes.error;
}

/** The stable form for `-o json` and `-o yaml`. */
export function stepDocument(report: StepReport, ca: CaName): Record<string, unknown> {
  const { restored, interrupted, result } = report;
  return {
    ...planDocument(report.plan, ca),
    state: stateOf(report),
    ...(restored && { restored: restored.files }),
    ...(interrupted && { interrupted: interrupted.folder }),
    ...(result && {
      done: result.done.filter(({ isChanged }) => isChanged),
      folder: result.folder,
      failure: result.failed && { task: result.failed.name, ...result.failed.failure },
    }),
  };
}

/** What is stored beside the copies of the files. */
export function planDocument(plan: StepPlan, ca: CaName): Record<string, unknown> {
  const { step, nodeName, tasks, restarts, gates, refusals, notes, commands } = plan;
  return {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'CaRolloverStep',
    step,
    ca,
    node: nodeName,
    tasks: tasks.map(taskDocument),
    restarts,
    gates: gates.map(({ id, state }) => ({ id, name: stepGateNames[id], state })),
    refusals,
    notes,
    commands,
  };
}

function taskDocument(task: StepTask): Record<string, unknown> {
  switch (task.kind) {
    case 'files': {
      const { name, files, restart } = task;
      return { name, files, restart: restart?.component };
    }
    case 'cluster': {
      const { name, content, isDone } = task;
      return { name, content, isDone };
    }
    default:
      return task satisfies never;
  }
}

export function stepTable(report: StepReport, ca: CaName): string {
  const { plan, interrupted, restored, result } = report;
  const isAhead = result === undefined;
  const lines = [
    `Step ${plan.step} of the rollover of the CA "${ca}" on ${plan.nodeName}`,
    ...section('REFUSED', plan.refusals.flatMap(refusalLines)),
    ...section('INTERRUPTED RUN', isAhead && interrupted ? [`  ${interrupted.folder}`] : []),
    ...section('FILES TO RESTORE', isAhead ? restoredLines(restored) : []),
    ...section('CHANGES', isAhead ? changeLines(plan) : []),
    ...section('RESTARTS', isAhead ? restartLines(report) : []),
    ...section('GATES', gateLines(plan)),
    ...section('DONE', doneLines(report)),
    ...section('FAILED', failureLines(report)),
    ...section(
      'NOTES',
      plan.notes.map((note) => `  ${note}`),
    ),
    ...commandLines(report),
    '',
    summaryOf(report),
  ];
  return `${lines.map(oneLine).join('\n')}\n`;
}

const summaries: Readonly<Record<StepState, string>> = {
  'nothing-to-do': 'Nothing to do: this step is complete on this node',
  planned: 'Nothing has changed yet',
  refused: 'Refused: nothing was changed',
  done: 'Done',
  undone: 'The step is undone on this node',
  failed: 'The step is not complete; run the same command again, or undo the step with --undo',
};

function summaryOf(report: StepReport): string {
  const state = stateOf(report);
  if (state === 'failed' && report.plan.step === 'abort') {
    return 'The step is not complete; run the same command again';
  }
  return summaries[state];
}

function restoredLines(restored: UndoPreview | undefined): string[] {
  return (restored?.files ?? []).map(
    ({ path, isRemoved }) => `  ${path}${isRemoved ? ' (removed)' : ''}`,
  );
}

function refusalLines({ message, remedy, objects = [] }: GateReason): string[] {
  return [
    `  ${message}`,
    ...(objects.length === 0 ? [] : [`    ${objects.join(', ')}`]),
    ...(remedy === undefined ? [] : [`    → ${remedy}`]),
  ];
}

function changeLines({ tasks }: StepPlan): string[] {
  const rows = tasks.flatMap((task): string[][] => {
    if (task.kind === 'files') return task.files.map(({ path, content }) => [`  ${path}`, content]);
    return task.isDone ? [] : [[`  ${task.name}`, task.content]];
  });
  return alignColumns(rows);
}

/** A component whose files change restarts once, although its own file may be one of several. */
function restartLines({ plan: { restarts }, restored }: StepReport): string[] {
  const all = [...restarts, ...(restored?.restarts ?? []).map(({ component }) => component)];
  return all.length === 0 ? ['  none'] : all.map((component) => `  ${component}`);
}

function gateLines({ gates }: StepPlan): string[] {
  if (gates.length === 0) return ['  This step needs no gate'];
  return gates.map(({ id, state }) => `  ${id} ${stepGateNames[id]}: ${state}`);
}

function doneLines({ result }: StepReport): string[] {
  const done = result?.done.filter(({ isChanged }) => isChanged) ?? [];
  return [
    ...done.map(({ name, restarted }) =>
      restarted === undefined
        ? `  ${name}`
        : `  ${name}: ${restarted.component} was healthy after ${formatDuration(restarted.tookMs)}`,
    ),
    ...(result?.folder === undefined ? [] : [`  The previous files are in ${result.folder}`]),
  ];
}

function failureLines({ result }: StepReport): string[] {
  if (result?.failed === undefined) return [];
  const { name, failure } = result.failed;
  const { code, message, remedy } = failure;
  return [`  ${name}: ${message} (${code})`, ...(remedy === undefined ? [] : [`    → ${remedy}`])];
}

function commandLines(report: StepReport): string[] {
  const { commands, refusals } = report.plan;
  if (refusals.length > 0 || report.result?.failed !== undefined) return [];
  return section(
    'RUN AFTERWARD',
    commands.map((command) => `  ${command}`),
  );
}
