import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { AgentError } from '../core/errors.ts';
import { version } from '../core/version.ts';
import { loadKubeconfig } from '../kube/kubeconfig.ts';
import { KubeClient } from '../kube/rest-client.ts';
import { findLocalNode } from '../pki/inventory/local-inventory.ts';
import { withRootRemedy } from '../pki/renewal/refusal.ts';
import { restartsOf } from '../pki/renewal/restart.ts';
import { ServerClock } from '../pki/unattended/server-clock.ts';
import type { Run } from '../store/run-manifest.ts';
import { interfaceAddresses } from '../sys/network-interfaces.ts';
import type { ApplyRequest } from '../trust/control-plane/apply.ts';
import {
  applyPlan,
  completeInterrupted,
  hasCopies,
  interruptedStep,
  previewUndoOf,
  undoPlan,
} from '../trust/control-plane/apply.ts';
import { lostAuthority } from '../trust/control-plane/repair.ts';
import type { StepPlan, StepRequest } from '../trust/control-plane/step-plan.ts';
import { isComplete } from '../trust/control-plane/step-plan.ts';
import type { NewAuthorityOptions } from '../trust/control-plane/steps/chosen-authority.ts';
import { planCreateStep, planCreateUndo } from '../trust/control-plane/steps/create-step.ts';
import { planRolloverStep } from '../trust/control-plane/steps/rollover-step.ts';
import { planRolloverUndo } from '../trust/control-plane/steps/rollover-undo.ts';
import type { GateOptions } from '../trust/control-plane/steps/step-cluster.ts';
import type { Step } from '../trust/control-plane/task.ts';
import type { UndoneStep, UndoPreview } from '../trust/control-plane/undo.ts';
import { isOf } from '../trust/control-plane/undo.ts';
import type { ApplyOptions } from './ca-rollover-apply-options.ts';
import { addApplyOptions, requireUsage, usualLifetime } from './ca-rollover-apply-options.ts';
import { confirmedBy } from './ca-rollover-options.ts';
import { directoriesOf, renewalRequest } from './certs-options.ts';
import type { StepReport } from './ca-rollover-apply-report.ts';
import { planDocument, stepDocument, stepExitCode, stepTable } from './ca-rollover-apply-report.ts';
import { isConfirmed } from './confirmation.ts';
import type { CliContext } from './context.ts';
import { Progress } from './doctor-progress.ts';
import type { ExitCodeMeanings } from './exit-code.ts';
import { exitCodes as codes } from './exit-code.ts';
import { print } from './print.ts';
import { oneLine } from './text.ts';
import { stopSignal } from './unattended.ts';

export const exitCodes: ExitCodeMeanings = {
  0: 'done, or nothing to do',
  1: 'an error, which the message names, or the answer was no',
  2: 'wrong usage',
  3: 'refused, because the step is not safe yet; the table has the remedy',
  4: 'refused, because something fails now or is about to fail; the table has the remedy',
};

/** `nodecertd ca-rollover apply`: one step of a rollover on this control-plane node. */
export function configure(
  command: Command,
  context: CliContext,
  exit: (code: number) => void,
): void {
  addApplyOptions(command).action(async (step: Step, options: ApplyOptions) => {
    requireUsage(step, options);
    const work = run(step, options, context).catch(async (error: unknown) => {
      throw await explained(error, options);
    });
    exit(await withRootRemedy(() => work));
  });
}

/** Without an API server, the files of this node may show why it rejects an administrator. */
async function explained(error: unknown, options: ApplyOptions): Promise<unknown> {
  const reason = await lostAuthority(error, directoriesOf(options));
  if (reason === undefined) return error;
  const { message, remedy } = reason;
  return new AgentError('API_UNAUTHORIZED', message, { cause: error, remedy });
}

async function run(step: Step, options: ApplyOptions, context: CliContext): Promise<number> {
  await using resources = new AsyncDisposableStack();
  const { clock, stdout, stderr } = context;
  const { output, dryRun = false, yes = false, undo = false } = options;
  const node = await openNode(options, context, resources);
  const { request } = node;
  const completed = dryRun ? 'nothing' : await complete(node, { yes, context });
  if (completed === 'declined') return codes.error;
  const isRestored =
    undo && completed !== 'nothing' && isUndoOf({ ca: options.ca, step }, completed);
  const planStep = (): Promise<StepPlan> => planOf(step, request, { options, context });
  const show = async (report: StepReport): Promise<number> => {
    stdout.write(
      await print(output, stepDocument(report, options.ca), () => stepTable(report, options.ca)),
    );
    return stepExitCode(report);
  };
  const planned = await preview(planStep, {
    node,
    undo,
    isRestored,
    progress: new Progress(stderr, clock),
  });
  const isSettled = await isSettledBy(planned, { step, options, request });
  if (dryRun || isSettled) return await show(planned);
  if (output === 'table' && !yes) stdout.write(stepTable(planned, options.ca));
  const question = undo ? 'Undo this step?' : 'Make these changes?';
  if (!(await isConfirmed(question, { yes, context }))) return codes.error;
  // After `abort`, the files are no longer those of which an earlier step has copies.
  const deletesCopies = options.oldKey === 'destroy' || step === 'abort';
  const result = await applying(context, async (around) =>
    (undo ? undoPlan : applyPlan)(planStep, {
      ...node,
      ...request,
      ...around,
      deletesCopies,
      isRestored,
      describe: (plan) => planDocument(plan, options.ca),
    }),
  );
  return await show({ ...planned, plan: result.plan, result });
}

async function planOf(
  step: Step,
  request: StepRequest,
  { options, context }: { readonly options: ApplyOptions; readonly context: CliContext },
): Promise<StepPlan> {
  if (step === 'create') {
    return options.undo === true
      ? planCreateUndo(request)
      : planCreateStep(request, authorityOptions(options, context));
  }
  const gates: GateOptions = {
    keyFiles: [],
    confirmed: confirmedBy(options),
    dial: options.dial,
    auditLogs: options.auditLog,
    acceptsEtcdInterruption: options.acceptEtcdInterruption === true,
    keepsAbsentNodes: options.keepAbsentNodes === true,
    onWait: (reason) => context.stderr.write(`${waiting(reason)}\n`),
  };
  return options.undo === true && step !== 'abort'
    ? planRolloverUndo(step, request, gates)
    : planRolloverStep(step, request, gates);
}

/** The credential of an administrator, and the machine. */
interface OpenNode extends Pick<ApplyRequest, 'serverClock' | 'restarts'> {
  readonly request: StepRequest;
}

async function openNode(
  options: ApplyOptions,
  context: CliContext,
  resources: AsyncDisposableStack,
): Promise<OpenNode> {
  const { clock, environment } = context;
  const renewal = renewalRequest(options, context);
  const { directories } = renewal;
  const path = options.kubeconfig ?? join(directories.kubernetes, 'admin.conf');
  const access = resources.use(await loadKubeconfig(path));
  const serverClock = new ServerClock(clock);
  const onDate = serverClock.note;
  const client = resources.use(await KubeClient.open({ access, version, clock, onDate }));
  const addresses = new Set(interfaceAddresses());
  const { hostName } = environment;
  const from = options.import && resolve(environment.workingDirectory, options.import);
  const request = {
    ...renewal,
    ca: options.ca,
    client,
    hostName,
    addresses,
    ...(from !== undefined && { importFrom: from }),
  };
  return { request, serverClock, restarts: restartsOf(await findLocalNode(directories)) };
}

/**
 * Completes a run that was interrupted, because nodecertd may not be able to plan a step from its files.
 * @returns the run; `declined` if the answer was no
 */
async function complete(
  { request, restarts }: OpenNode,
  { yes, context }: { readonly yes: boolean; readonly context: CliContext },
): Promise<Run | 'nothing' | 'declined'> {
  const run = await interruptedStep(request);
  if (run === undefined) return 'nothing';
  const { folder, manifest } = run;
  const what = `the step ${manifest.step ?? ''} was interrupted on this node`;
  context.stderr.write(`nodecertd: ${what}; the previous files are in ${folder}\n`);
  const question = 'Keep the changes that are complete, and restore the other files?';
  if (!(await isConfirmed(question, { yes, context }))) return 'declined';
  await completeInterrupted({ ...request, restarts });
  return run;
}

/** The run was an undo of this step. */
function isUndoOf(undone: UndoneStep, run: Run): boolean {
  return run.manifest.state === 'reverting' && isOf(undone, run);
}

function authorityOptions(options: ApplyOptions, { environment }: CliContext): NewAuthorityOptions {
  const { subject, key, lifetime, import: from } = options;
  return {
    lifetimeMs: lifetime ?? usualLifetime,
    ...(subject !== undefined && { commonName: subject }),
    ...(key !== undefined && { key }),
    ...(from !== undefined && { importFrom: resolve(environment.workingDirectory, from) }),
  };
}

/** The files of a step that an interrupted undo has restored already. */
const nothingLeft: UndoPreview = { runs: [], files: [], restarts: [] };

interface Preview {
  readonly node: OpenNode;
  readonly undo: boolean;
  readonly isRestored: boolean;
  readonly progress: Progress;
}

async function preview(
  planStep: () => Promise<StepPlan>,
  { node: { request, restarts }, undo, isRestored, progress }: Preview,
): Promise<StepReport> {
  using shown = progress.start();
  shown.note('the cluster', 'started');
  const plan = await planStep();
  const interrupted = await interruptedStep(request);
  const isUndone = undo && plan.refusals.length === 0;
  const restored = isUndone
    ? isRestored
      ? nothingLeft
      : await previewUndoOf(plan, { ...request, restarts })
    : undefined;
  return { plan, ...(restored && { restored }), ...(interrupted && { interrupted }) };
}

/** Nothing has to change, or nothing may. */
async function isSettledBy(
  { plan, interrupted, restored }: StepReport,
  {
    step,
    options: { oldKey },
    request,
  }: { readonly step: Step; readonly options: ApplyOptions; readonly request: StepRequest },
): Promise<boolean> {
  if (plan.refusals.length > 0) return true;
  const isDone = isComplete(plan) && interrupted === undefined && restored === undefined;
  if (!isDone || oldKey === 'destroy') return false;
  return step !== 'abort' || !(await hasCopies(request));
}

function waiting(reason: string): string {
  return oneLine(`waiting: ${reason}`);
}

/** Ctrl-C ends the step after the current task, and a second one ends the process at once. */
async function applying<T>(
  { stderr, clock }: CliContext,
  work: (around: Pick<ApplyRequest, 'stop' | 'onWait' | 'onTask'>) => Promise<T>,
): Promise<T> {
  using stop = stopSignal();
  using progress = new Progress(stderr, clock).show();
  let current = 'the Lease';
  progress.note(current, 'started');
  return await work({
    stop: stop.signal,
    onWait: (reason) => progress.say(waiting(reason)),
    onTask: ({ name }) => {
      progress.note(current, 'ended');
      current = name;
      progress.note(current, 'started');
    },
  });
}
