import { AgentError, hasCode } from '../../core/errors.ts';
import { LeaseClient } from '../../kube/lease-client.ts';
import type { RestartedComponent, Restarts } from '../../pki/renewal/renewal-restarts.ts';
import { directoryOf, lock } from '../../pki/renewal/renewal.ts';
import { requireNoInterruptedRenewal, rolloverDirectory } from '../../pki/renewal/rollover-runs.ts';
import type { HeldLease } from '../../pki/unattended/renewal-lease.ts';
import { renewalLease } from '../../pki/unattended/renewal-lease.ts';
import type { ServerClock } from '../../pki/unattended/server-clock.ts';
import { attributeCopier } from '../../store/file-attributes.ts';
import { readRuns } from '../../store/run-folder.ts';
import type { Run } from '../../store/run-manifest.ts';
import type { RunRecovery } from '../../store/run-recovery.ts';
import { completeRuns, interruptedRun } from '../../store/run-recovery.ts';
import { applyCommand } from './apply-command.ts';
import { waitForLease } from './step-lease.ts';
import type { StepPlan, StepRequest } from './step-plan.ts';
import type { StepResult } from './task-run.ts';
import { runsOf, runStep } from './task-run.ts';
import type { CaName, StepTask } from './task.ts';
import type { UndoPreview } from './undo.ts';
import { deleteCopies, isRestoredLast, previewUndo, undoStep } from './undo.ts';
import { restartUnits, unitsOf } from './unit-restart.ts';

export interface ApplyRequest extends StepRequest {
  readonly serverClock: ServerClock;
  /** The components that a step may restart. */
  readonly restarts: Restarts;
  /** Ends the step before its next task. */
  readonly stop: AbortSignal;
  /** Called with the reason of each wait for the Lease or a component. */
  readonly onWait: (reason: string) => void;
  readonly onTask: (task: StepTask) => void;
  /** Delete the copies of all steps of this CA afterward, because they have a key that nothing needs. */
  readonly deletesCopies: boolean;
  /** With an undo: an interrupted undo of this step was completed, so its copies are gone. */
  readonly isRestored?: boolean;
  /** The document of a plan, stored beside the copies of the files. */
  readonly describe: (plan: StepPlan) => unknown;
}

export interface AppliedStep extends StepResult {
  /** As planned after the Lease was taken. */
  readonly plan: StepPlan;
}

/**
 * The earlier run that the next step on this node completes or undoes first. Undefined while another
 * process works: its run is not interrupted.
 */
export async function interruptedStep(
  request: Pick<StepRequest, 'directories'>,
): Promise<Run | undefined> {
  const run = interruptedRun(await readRuns(rolloverDirectory(request.directories)));
  return run !== undefined && (await isLocked(request)) ? undefined : run;
}

/** Earlier steps of this CA have left copies of files, which may contain keys. */
export async function hasCopies({
  directories,
  ca,
}: Pick<StepRequest, 'directories' | 'ca'>): Promise<boolean> {
  return runsOf(ca, await readRuns(rolloverDirectory(directories))).length > 0;
}

async function isLocked(request: Pick<StepRequest, 'directories'>): Promise<boolean> {
  try {
    await using _ = await lock(directoryOf(request));
    return false;
  } catch (error) {
    if (!hasCode(error, 'STORE_LOCKED')) throw error;
    return true;
  }
}

/**
 * Completes or undoes a run that was interrupted. Needs neither the API server nor the Lease, because
 * the files of that run may be the reason why this node has no API server.
 * @throws AgentError STORE_*, FILE_CHANGED
 */
export async function completeInterrupted(request: RecoveryRequest): Promise<void> {
  await using _ = await lock(directoryOf(request));
  await completeRuns(environmentOf(request));
}

/**
 * Takes the Lease and the lock, completes an interrupted run, plans again, and does what is missing.
 * @throws AgentError STORE_*, FILE_CHANGED, API_*, ABORTED, and the errors of the plan
 */
export async function applyPlan(
  planStep: () => Promise<StepPlan>,
  request: ApplyRequest,
): Promise<AppliedStep> {
  await using resources = new AsyncDisposableStack();
  const lease = await begin(request, resources);
  await completeRuns(environmentOf(request));
  const plan = await planStep();
  if (plan.refusals.length > 0) return { plan, done: [] };
  const { stop, onTask, onWait, describe } = request;
  const result = await runStep(plan.tasks, {
    ...environmentOf(request),
    version: request.version,
    step: plan.step,
    ca: request.ca,
    plan: describe(plan),
    onTask,
    onWait,
    requireLock: async () => {
      if (stop.aborted) throw interrupted();
      await lease.ensureHeld();
    },
  });
  if (result.failed !== undefined) return { plan, ...result };
  const after = (await plan.notesAfter?.()) ?? [];
  const completed = { ...plan, notes: [...plan.notes, ...after] };
  if (!request.deletesCopies) return { plan: completed, ...result };
  await deleteCopies(rolloverDirectory(request.directories), request.ca);
  return { plan: completed, done: result.done };
}

function interrupted(): AgentError {
  return new AgentError('ABORTED', 'the step was interrupted', {
    remedy: 'Run the same command again; it does what is missing',
  });
}

/** The files that an undo of the step restores. @throws AgentError USAGE if there are none */
export async function previewUndoOf(
  { step }: StepPlan,
  request: RecoveryRequest,
): Promise<UndoPreview> {
  return previewUndo({ ca: request.ca, step }, environmentOf(request));
}

/**
 * Restores the files as they were before the step, and does the tasks of the plan, which change
 * objects in the cluster.
 * @throws AgentError USAGE, FILE_CHANGED, COMPONENT_RESTART, STORE_*, API_*, ABORTED
 */
export async function undoPlan(
  planUndo: () => Promise<StepPlan>,
  request: ApplyRequest,
): Promise<AppliedStep> {
  await using resources = new AsyncDisposableStack();
  const lease = await begin(request, resources);
  const plan = await planUndo();
  if (plan.refusals.length > 0) return { plan, done: [] };
  lease.requireHeld();
  const environment = { ...environmentOf(request), onWait: request.onWait };
  const { isRestored = false, ca } = request;
  const undone = { ca, step: plan.step };
  const undo = async (): Promise<readonly RestartedComponent[]> =>
    isRestored ? [] : (await undoStep(undone, environment)).restarted;
  if (!isRestored) await previewUndo(undone, environment);
  const tasks = plan.tasks.filter((task) => task.kind === 'cluster');
  const changeCluster = async ({ reports }: { readonly reports: boolean }): Promise<void> => {
    const chosen = tasks.filter(({ isReport = false }) => isReport === reports);
    for (const task of chosen.filter(({ isDone }) => !isDone)) await task.run(request.signal);
  };
  // A second undo reads the copies to find what is left, so the files follow the cluster. The reports come
  // last, because they describe the restored files.
  await changeCluster({ reports: false });
  const restarted = await undo();
  await changeCluster({ reports: true });
  const done = [
    ...restarted.map((one) => ({ name: one.component, isChanged: true, restarted: one })),
    ...tasks.map(({ name, isDone }) => ({ name, isChanged: !isDone })),
  ];
  return { plan, done };
}

async function begin(request: ApplyRequest, resources: AsyncDisposableStack): Promise<HeldLease> {
  const { client, serverClock, clock, hostName: nodeName, stop, onWait } = request;
  const environment = { leases: new LeaseClient(client, renewalLease), serverClock, clock };
  const lease = await waitForLease(environment, { nodeName, signal: stop, onWait });
  resources.use(lease);
  resources.use(await lock(directoryOf(request)));
  await requireNoInterruptedRenewal(request.directories);
  return lease;
}

type RecoveryRequest = Pick<
  ApplyRequest,
  'ca' | 'tree' | 'directories' | 'clock' | 'restarts' | 'signal'
>;

function environmentOf(
  request: RecoveryRequest,
): RunRecovery & Pick<RecoveryRequest, 'restarts' | 'signal' | 'clock'> {
  const { tree, clock, directories, restarts, signal } = request;
  const directory = rolloverDirectory(directories);
  const copyAttributes = attributeCopier(clock);
  const onRestored: RunRecovery['onRestored'] = (files) =>
    restartUnits(unitsOf(files, restarts), {});
  const laterChanges = laterChangesOf(request.ca);
  const common = { tree, directory, clock, copyAttributes, laterChanges, restarts, signal };
  return { ...common, onRestored, isRestoredLast };
}

function laterChangesOf(ca: CaName): NonNullable<RunRecovery['laterChanges']> {
  return {
    change: 'the step',
    remedy: `Undo the later changes first, for example: nodecertd certs rollback; or go back without the copies: ${applyCommand('abort', ca)}`,
  };
}
