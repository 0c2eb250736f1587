import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { Argument, InvalidArgumentError, Option } from 'commander';
import type { KeyAlgorithm } from '../core/certificate-spec.ts';
import { keyAlgorithms } from '../core/certificate-spec.ts';
import { AgentError } from '../core/errors.ts';
import { day } from '../core/instant.ts';
import { version } from '../core/version.ts';
import { loadKubeconfig } from '../kube/kubeconfig.ts';
import { KubeClient } from '../kube/rest-client.ts';
import { findLocalNode } from '../pki/inventory/local-inventory.ts';
import { parseLifetime } from '../pki/renewal/lifetime.ts';
import { withRootRemedy } from '../pki/renewal/refusal.ts';
import { restartsOf } from '../pki/renewal/restart.ts';
import { ServerClock } from '../pki/unattended/server-clock.ts';
import { interfaceAddresses } from '../sys/network-interfaces.ts';
import type { ApplyRequest } from '../trust/control-plane/apply.ts';
import {
  applyPlan,
  interruptedStep,
  previewUndoOf,
  undoPlan,
} from '../trust/control-plane/apply.ts';
import type { StepPlan, StepRequest } from '../trust/control-plane/step-plan.ts';
import { isComplete } from '../trust/control-plane/step-plan.ts';
import type { NewAuthorityOptions } from '../trust/control-plane/steps/chosen-authority.ts';
import { planCreateStep, planCreateUndo } from '../trust/control-plane/steps/create-step.ts';
import type { DirectoryOptions } from './certs-options.ts';
import { addDirectoryOptions, renewalRequest } from './certs-options.ts';
import type { StepReport } from './ca-rollover-apply-report.ts';
import { planDocument, stepDocument, stepExitCode, stepTable } from './ca-rollover-apply-report.ts';
import { isConfirmed } from './confirmation.ts';
import type { CliContext } from './context.ts';
import { Progress } from './doctor-progress.ts';
import type { ExitCodeMeanings } from './exit-code.ts';
import { exitCodes as codes } from './exit-code.ts';
import type { OutputFormat } from './print.ts';
import { outputOption, print } from './print.ts';
import { stopSignal } from './unattended.ts';

interface ApplyOptions extends DirectoryOptions {
  readonly kubeconfig?: string;
  readonly subject?: string;
  readonly key?: KeyAlgorithm;
  /** In milliseconds. */
  readonly lifetime: number;
  readonly import?: string;
  readonly undo?: true;
  readonly dryRun?: true;
  readonly yes?: true;
  readonly output: OutputFormat;
}

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
  addDirectoryOptions(command)
    .addArgument(
      new Argument(
        '<step>',
        'create: a new CA; nodecertd ca-rollover plan prints the commands of the other steps',
      ).choices(['create']),
    )
    .addOption(
      new Option('--ca <ca>', 'the CA that is replaced')
        .choices(['kubernetes'])
        .makeOptionMandatory(),
    )
    .option('--kubeconfig <file>', 'kubeconfig of an administrator (default: admin.conf)')
    .addOption(
      new Option(
        '--subject <name>',
        'subject of the new CA, as in "CN=kubernetes 2027" (default: the name of the old CA with the present month)',
      ).argParser(parseSubject),
    )
    .addOption(
      new Option('--key <algorithm>', 'kind of the new key (default: as the old key)').choices(
        // kubeadm reads only RSA and ECDSA keys of a CA.
        keyAlgorithms.filter((algorithm) => algorithm !== 'ed25519'),
      ),
    )
    .addOption(
      new Option('--lifetime <time>', 'lifetime of the new CA')
        .argParser(parseAuthorityLifetime)
        .default(3650 * day, '10y'),
    )
    .option('--import <folder>', 'use the CA in this folder (ca.crt and ca.key)')
    .option('--undo', 'restore the files from before the step')
    .option('--dry-run', 'show the plan, and change nothing')
    .option('--yes', 'do not ask before the step')
    .addOption(outputOption())
    .action(async (_step: string, options: ApplyOptions) => {
      requireUsage(options);
      exit(await withRootRemedy(() => run(options, context)));
    });
}

/** The characters of the names that `ca-rollover plan` and kubeadm use. @throws InvalidArgumentError */
function parseSubject(text: string): string {
  const name = /^CN=([\p{L}\p{N} ._:-]{1,64})$/u.exec(text)?.[1]?.trim();
  if (name !== undefined && name !== '') return name;
  throw new InvalidArgumentError(
    'Use CN= and a name of up to 64 letters, digits, spaces and . _ : - such as "CN=kubernetes 2027".',
  );
}

const longestLifetime = 100 * 365 * day;

/** @throws InvalidArgumentError; AgentError USAGE */
function parseAuthorityLifetime(text: string): number {
  const lifetime = parseLifetime(text);
  if (lifetime.kind === 'duration' && lifetime.ms <= longestLifetime) return lifetime.ms;
  throw new InvalidArgumentError('Use a duration of up to 100 years, such as 10y or 3650d.');
}

function requireUsage(options: ApplyOptions): void {
  const fault = faultOf(options);
  if (fault === undefined) return;
  throw new AgentError('USAGE', fault, { remedy: 'See: nodecertd ca-rollover apply --help' });
}

function faultOf(options: ApplyOptions): string | undefined {
  const { dryRun, yes, undo, subject, key, import: from } = options;
  if (dryRun === true && yes === true) return '--yes and --dry-run exclude each other';
  const chosen = subject !== undefined || key !== undefined;
  if (from !== undefined && chosen) return '--import brings its own subject and key';
  if (undo === true && (chosen || from !== undefined)) return '--undo creates no CA';
  return undefined;
}

async function run(options: ApplyOptions, context: CliContext): Promise<number> {
  await using resources = new AsyncDisposableStack();
  const { clock, stdout, stderr } = context;
  const { output, dryRun = false, yes = false, undo = false } = options;
  const node = await openNode(options, context, resources);
  const { request } = node;
  const planStep = undo
    ? (): Promise<StepPlan> => planCreateUndo(request)
    : (): Promise<StepPlan> => planCreateStep(request, authorityOptions(options, context));
  const show = async (report: StepReport): Promise<number> => {
    stdout.write(await print(output, stepDocument(report), () => stepTable(report)));
    return stepExitCode(report);
  };
  const planned = await preview(planStep, { node, undo, progress: new Progress(stderr, clock) });
  if (dryRun || isSettled(planned)) return await show(planned);
  if (output === 'table' && !yes) stdout.write(stepTable(planned));
  const question = undo ? 'Undo this step?' : 'Make these changes?';
  if (!(await isConfirmed(question, { yes, context }))) return codes.error;
  const result = await applying(context, async (around) =>
    (undo ? undoPlan : applyPlan)(planStep, { ...node, ...request, ...around }),
  );
  return await show({ ...planned, plan: result.plan, result });
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
  const request = { ...renewal, client, hostName: environment.hostName, addresses };
  return { request, serverClock, restarts: restartsOf(await findLocalNode(directories)) };
}

function authorityOptions(options: ApplyOptions, { environment }: CliContext): NewAuthorityOptions {
  const { subject, key, lifetime, import: from } = options;
  return {
    lifetimeMs: lifetime,
    ...(subject !== undefined && { commonName: subject }),
    ...(key !== undefined && { key }),
    ...(from !== undefined && { importFrom: resolve(environment.workingDirectory, from) }),
  };
}

interface Preview {
  readonly node: OpenNode;
  readonly undo: boolean;
  readonly progress: Progress;
}

async function preview(
  planStep: () => Promise<StepPlan>,
  { node: { request, restarts }, undo, progress }: Preview,
): Promise<StepReport> {
  using shown = progress.start();
  shown.note('the cluster', 'started');
  const plan = await planStep();
  const interrupted = await interruptedStep(request);
  const isUndone = undo && plan.refusals.length === 0;
  const restored = isUndone ? await previewUndoOf(plan, { ...request, restarts }) : undefined;
  return { plan, ...(restored && { restored }), ...(interrupted && { interrupted }) };
}

/** Nothing has to change, or nothing may. */
function isSettled({ plan, interrupted, restored }: StepReport): boolean {
  if (plan.refusals.length > 0) return true;
  return isComplete(plan) && interrupted === undefined && restored === undefined;
}

/** Ctrl-C ends the step after the present task, and a second one ends the process at once. */
async function applying<T>(
  { stderr, clock }: CliContext,
  work: (around: Pick<ApplyRequest, 'stop' | 'onWait' | 'onTask' | 'describe'>) => Promise<T>,
): Promise<T> {
  using stop = stopSignal();
  using progress = new Progress(stderr, clock).show();
  let current = 'the Lease';
  progress.note(current, 'started');
  return await work({
    stop: stop.signal,
    onWait: (reason) => progress.say(reason),
    onTask: ({ name }) => {
      progress.note(current, 'ended');
      current = name;
      progress.note(current, 'started');
    },
    describe: planDocument,
  });
}
