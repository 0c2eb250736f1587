import type { Failure } from '../../core/errors.ts';
import { AgentError, describeError, hasCode, toFailure } from '../../core/errors.ts';
import { expectRestart } from '../../pki/renewal/component-start.ts';
import type { RestartedComponent } from '../../pki/renewal/renewal-restarts.ts';
import type { ComponentRestart, RestartEnvironment } from '../../pki/renewal/restart.ts';
import { annotatedManifest, requireRestartable } from '../../pki/renewal/restart.ts';
import { rolloverCommand } from '../../pki/renewal/rollover-runs.ts';
import { linkTarget } from '../../store/link-target.ts';
import type { NewChange, Runs } from '../../store/run-folder.ts';
import { readRuns, sweep } from '../../store/run-folder.ts';
import { changeItem, UnrestoredError } from '../../store/run-item.ts';
import type { Run } from '../../store/run-manifest.ts';
import type { RunRecovery } from '../../store/run-recovery.ts';
import { finishRun } from '../../store/run-recovery.ts';
import { startRun } from '../../store/run-start.ts';
import type { RestartFacts } from './task-restart.ts';
import { neededRestart, tasksWithRestart } from './task-restart.ts';
import type { CaName, FileTask, Step, StepTask } from './task.ts';
import { restartUnits } from './unit-restart.ts';

export interface StepEnvironment extends RunRecovery, RestartEnvironment, RestartFacts {
  readonly version: string;
  readonly step: Step;
  readonly ca: CaName;
  /** The document of the plan, stored beside the copies. */
  readonly plan: unknown;
  /**
   * Called before each task, for a lock that can be lost and for Ctrl-C. An error stops the run, and
   * the tasks before it stay done.
   */
  readonly requireLock?: () => void | Promise<void>;
  readonly onTask?: (task: StepTask) => void;
}

export interface DoneTask {
  readonly name: string;
  /** False if everything was as it should be. */
  readonly isChanged: boolean;
  readonly restarted?: RestartedComponent;
}

export interface StepResult {
  /** In order. */
  readonly done: readonly DoneTask[];
  /** The folder with the previous files. Absent if no file was changed. */
  readonly folder?: string;
  readonly failed?: { readonly name: string; readonly failure: Failure };
}

/**
 * Does one task after the other. The first failure ends the run: the files of that task are restored,
 * unless it only restarts a component, and the tasks before it stay done. If they cannot be restored, the
 * run stays interrupted.
 * The caller has locked the directory and completed an interrupted run.
 * @throws AgentError STORE_* if not even the folder of the run can be created; COMPONENT_RESTART
 * before the first change if a restart cannot succeed; INTERNAL if two tasks change one file
 */
export async function runStep(
  tasks: readonly StepTask[],
  environment: StepEnvironment,
): Promise<StepResult> {
  requireDifferentFiles(tasks);
  await requirePossibleRestarts(tasks, environment);
  const { directory } = environment;
  let run = await startStep(environment);
  const done: DoneTask[] = [];
  let failed: StepResult['failed'];
  for (const task of tasks) {
    try {
      await environment.requireLock?.();
      environment.onTask?.(task);
      const ended = await runTask(run, task, environment);
      run = ended.run;
      done.push(await ended.result());
    } catch (error) {
      failed = { name: task.name, failure: toFailure(error) };
      if (error instanceof UnrestoredError) return { done, folder: run.folder, failed };
      break;
    }
  }
  if (run.manifest.changes.length === 0) {
    await sweep(directory, [run.folder]);
    return { done, ...(failed && { failed }) };
  }
  await finishRun(run, environment, Infinity);
  await sweepEarlierRollover(environment);
  return { done, folder: run.folder, ...(failed && { failed }) };
}

/** Each task is planned from the files before the step, so a second one would plan from an old content. */
function requireDifferentFiles(tasks: readonly StepTask[]): void {
  const changedBy = new Map<string, StepTask>();
  for (const task of tasks) {
    for (const { path } of task.kind === 'files' ? task.files : []) {
      const first = changedBy.get(path) ?? task;
      if (first !== task) {
        throw new AgentError('INTERNAL', `both ${first.name} and ${task.name} change ${path}`);
      }
      changedBy.set(path, task);
    }
  }
}

async function requirePossibleRestarts(
  tasks: readonly StepTask[],
  environment: StepEnvironment,
): Promise<void> {
  for (const task of tasksWithRestart(tasks)) {
    const restart = await neededRestart(task, environment);
    if (restart !== undefined) await requireRestartable(restart, environment);
  }
}

async function startStep(environment: StepEnvironment): Promise<Run> {
  const { directory, clock, version, step, ca, plan } = environment;
  const { next: sequence } = await readRuns(directory);
  const now = (): number => clock.now();
  const common = { kind: 'RolloverManifest', changes: [] } as const;
  return startRun({ ...common, directory, sequence, now, version, step, ca, plan });
}

/** The copies of a rollover are kept until the next one of the same CA begins on this node. */
async function sweepEarlierRollover({
  directory,
  step,
  ca,
}: Pick<StepEnvironment, 'directory' | 'step' | 'ca'>): Promise<void> {
  if (step === 'finish') return;
  const runs = runsOf(ca, await readRuns(directory));
  const last = runs.findLastIndex(({ manifest }) => manifest.step === 'finish');
  await sweep(
    directory,
    runs.slice(0, last + 1).map(({ folder }) => folder),
  );
}

/** The runs of the steps of one CA, the oldest first. */
export function runsOf(ca: CaName, { active }: Pick<Runs, 'active'>): Run[] {
  return active.filter((run) => caOf(run) === ca);
}

/** An earlier version of nodecertd replaced only the CA of Kubernetes. */
export function caOf({ manifest }: Run): string {
  return manifest.ca ?? 'kubernetes';
}

interface Ended {
  /** With the changes of the task. */
  readonly run: Run;
  /** Throws if the component does not work after a restart that stays. */
  readonly result: () => DoneTask | Promise<DoneTask>;
}

async function runTask(run: Run, task: StepTask, environment: StepEnvironment): Promise<Ended> {
  const { name } = task;
  switch (task.kind) {
    case 'files':
      return runFileTask(run, task, environment);
    case 'cluster':
      if (!task.isDone) await task.run(environment.signal);
      return { run, result: () => ({ name, isChanged: !task.isDone }) };
    default:
      return task satisfies never;
  }
}

async function runFileTask(run: Run, task: FileTask, environment: StepEnvironment): Promise<Ended> {
  const { name, check } = task;
  const { signal, step, ca } = environment;
  const restart = await neededRestart(task, environment);
  using files = task.files.length === 0 ? undefined : await task.make();
  const changes = await withRestart(files?.changes ?? [], restart, environment);
  if (changes.length === 0 && restart === undefined) {
    await check?.(signal);
    return { run, result: () => ({ name, isChanged: false }) };
  }
  const isHealthy = restart && (await expectRestart(restart, environment));
  /** With the previous files. */
  let isHealthyAgain: typeof isHealthy;
  const prove = async (): Promise<DoneTask> => {
    try {
      if (restart !== undefined) await restartUnits([restart], environment);
      const tookMs = await isHealthy?.();
      await check?.(signal);
      const restarted = restart && { component: restart.component, tookMs: tookMs ?? 0 };
      return { name, isChanged: true, ...(restarted && { restarted }) };
    } catch (error) {
      isHealthyAgain = restart && (await expectRestart(restart, environment));
      throw error;
    }
  };
  // A unit that is older than its files restarts without a change of a file.
  if (changes.length === 0) return { run, result: prove };
  const item = { name, changes: changes.map((change) => ({ ...change, item: name })) };
  const isRestartOnly = (files?.changes ?? []).length === 0;
  const restoreCommand = undoCommand({ step, ca });
  // The manifest from before would restart the component again, with the same files.
  if (isRestartOnly) {
    const begun = await changeItem(run, { ...item, restoreCommand, prove: done }, environment);
    return { run: begun.run, result: prove };
  }
  try {
    const { run: begun, result } = await changeItem(
      run,
      { ...item, restoreCommand, prove },
      environment,
    );
    return { run: begun, result: () => result };
  } catch (error) {
    if (isHealthyAgain === undefined || error instanceof UnrestoredError) throw error;
    throw await afterRestoration(error, isHealthyAgain);
  }
}

async function done(): Promise<void> {}

/** The manifest belongs to the change, so that its restoration restarts the component again. */
async function withRestart(
  changes: readonly NewChange[],
  restart: ComponentRestart | undefined,
  { clock }: StepEnvironment,
): Promise<readonly NewChange[]> {
  if (restart?.by.kind !== 'manifest') return changes;
  const manifest = await linkTarget(restart.by.path);
  if (changes.some(({ path }) => path === manifest)) return changes;
  return [...changes, await annotatedManifest(manifest, clock.now())];
}

/** Waits for the component, which the kubelet or systemd starts again with the previous files. */
async function afterRestoration(
  error: unknown,
  isHealthy: () => Promise<number>,
): Promise<unknown> {
  if (!(error instanceof AgentError)) return error;
  try {
    await isHealthy();
    return error;
  } catch (second) {
    if (hasCode(second, 'ABORTED')) return error;
    return error.withMessage(`${error.message}, but ${describeError(second)}`);
  }
}

export function undoCommand(run: Parameters<typeof rolloverCommand>[0]): string {
  return `${rolloverCommand(run)} --undo`;
}
