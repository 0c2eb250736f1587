import type { Command } from 'commander';
import type { AdoptionRequest, AdoptionResult } from '../adopt/adoption.ts';
import { adopt, previewAdoption, previewRevert, revert, undo } from '../adopt/adoption.ts';
import { AgentError, describeError, toFailure } from '../core/errors.ts';
import { version } from '../core/version.ts';
import { restartService } from '../kubelet/restart.ts';
import { findKubeletStart, unknownStart } from '../kubelet/start.ts';
import { Tree } from '../sys/tree.ts';
import { lockTrust } from '../trust/node/trust-lock.ts';
import type { AdoptReport } from './adopt-report.ts';
import { adoptDocument, adoptExitCode, adoptExitCodes } from './adopt-report.ts';
import { adoptTable } from './adopt-table.ts';
import type { ConfigOptions } from './config-options.ts';
import { addConfigOptions, nodeFlags } from './config-options.ts';
import type { CliContext } from './context.ts';
import { loadNodeConfig } from './default-config.ts';
import { Progress } from './doctor-progress.ts';
import { loadImage } from './image-config.ts';
import { canDrawLive, wantsColor } from './terminal.ts';
import type { OutputFormat } from './print.ts';
import { outputOption, print } from './print.ts';

interface AdoptOptions extends ConfigOptions {
  readonly output: OutputFormat;
  readonly yes?: true;
  readonly revert?: true;
  readonly force?: true;
  readonly restart?: true;
  readonly dryRun?: true;
  readonly root?: string;
}

export const exitCodes = adoptExitCodes;

/** `nodecertd adopt`: takes over the certificates of a kubelet, or reverts that. */
export function configure(
  command: Command,
  context: CliContext,
  exit: (code: number) => void,
): void {
  addConfigOptions(command, nodeFlags);
  command
    .option('--dry-run', 'show the changes without making them (the default)')
    .option('--yes', 'make the changes, all or none')
    .option('--revert', 'restore the previous files')
    .option('--force', 'with --revert: also restore files that were changed after the adoption')
    .option('--restart', 'with --yes: restart the kubelet, and wait until it stays up')
    .option(
      '--root <folder>',
      'folder with an unpacked image; all other paths, including --config, are paths in the image',
    )
    .addOption(outputOption())
    .action(async ({ output, ...options }: AdoptOptions) => {
      checkOptions(options);
      const request = await requestFor(options, context);
      const report = await run(request, options, context);
      const { stdout } = context;
      const color = canDrawLive(stdout, process.env) && wantsColor(process.env);
      const table = (): string => adoptTable(report, color);
      stdout.write(await print(output, adoptDocument(report), table));
      exit(adoptExitCode(report));
    });
}

function checkOptions(options: Omit<AdoptOptions, 'output'>): void {
  const { yes, dryRun, force, revert, restart, root, kubeletConfig, kubeletConfigDir } = options;
  const faults: readonly (readonly [boolean, string])[] = [
    [yes === true && dryRun === true, '--yes and --dry-run exclude each other'],
    [force === true && revert === undefined, '--force needs --revert'],
    [restart === true && yes === undefined, '--restart needs --yes'],
    [
      restart === true && root !== undefined,
      'the kubelet of an image (--root) cannot be restarted',
    ],
    [
      root !== undefined && revert === undefined && !kubeletConfig && !kubeletConfigDir,
      '--root needs --kubelet-config or --kubelet-config-dir, because the kubelet of an image does not run',
    ],
  ];
  const [fault] = faults.filter(([isWrong]) => isWrong);
  if (fault === undefined) return;
  throw new AgentError('USAGE', fault[1], { remedy: 'See: nodecertd adopt --help' });
}

async function requestFor(
  { root, ...options }: Omit<AdoptOptions, 'output'>,
  context: CliContext,
): Promise<AdoptionRequest> {
  const { environment, clock } = context;
  const common = { clock, version, signal: new AbortController().signal };
  if (root !== undefined) {
    const image = await loadImage(root, options, context);
    return { ...common, ...image, findKubelet: async () => unknownStart };
  }
  const { hostName } = environment;
  const config = await loadNodeConfig(options, context);
  return { ...common, tree: new Tree('/'), config, hostName, findKubelet: findKubeletStart };
}

async function run(
  request: AdoptionRequest,
  options: Omit<AdoptOptions, 'output'>,
  context: CliContext,
): Promise<AdoptReport> {
  const { tree, config } = request;
  const action = options.revert === true ? 'revert' : 'adopt';
  const { nodeName, certificateDirectory } = config;
  const common = {
    action,
    nodeName,
    certificateDirectory,
    ...(!tree.isMachine && { root: tree.root }),
  } as const;
  if (options.yes === undefined) {
    const plan = await (action === 'adopt' ? previewAdoption(request) : previewRevert(request));
    return { ...common, plan, done: false, restarted: false };
  }
  // Otherwise the agent may change the same files meanwhile.
  await using _ =
    tree.isMachine && config.trust !== undefined ? await lockTrust(request) : undefined;
  const force = options.force === true;
  const done = await (action === 'adopt' ? adopt(request) : revert(request, { force }));
  const refused = done.plan.obstacles.length > 0 && !force;
  if (refused) return { ...common, plan: done.plan, done: false, restarted: false };
  const restarted = options.restart === true && (await restart(request, done, context));
  const changed = restarted || done.plan.steps.length > 0;
  return { ...common, plan: done.plan, done: changed, restarted };
}

/** Undoes the changes if the kubelet does not start with them. */
async function restart(
  request: AdoptionRequest,
  { plan, run }: AdoptionResult,
  { stderr, clock }: CliContext,
): Promise<boolean> {
  if (plan.restart === undefined) return false;
  const { unit, command } = plan.restart;
  if (unit === undefined) {
    throw new AgentError('KUBELET_RESTART', 'cannot restart the kubelet: its service is unknown', {
      remedy: `Restart it: ${command}`,
    });
  }
  using progress = new Progress(stderr, clock).start();
  const restartUnit = async (): Promise<void> => {
    progress.note(`${unit} to stay up`, 'started');
    await restartService({ unit, clock, signal: request.signal });
  };
  try {
    await restartUnit();
    return true;
  } catch (error) {
    if (run === undefined) throw error;
    await undo(request, run);
    throw await afterUndo(error, restartUnit);
  }
}

async function afterUndo(cause: unknown, restartUnit: () => Promise<void>): Promise<AgentError> {
  const { remedy } = toFailure(cause);
  const again = await restartUnit().then(
    () => 'the kubelet was restarted with them',
    (error: unknown) => `the kubelet does not start with them either: ${describeError(error)}`,
  );
  return new AgentError(
    'KUBELET_RESTART',
    `${describeError(cause)}; the previous files are restored, and ${again}`,
    { cause, ...(remedy !== undefined && { remedy }) },
  );
}
