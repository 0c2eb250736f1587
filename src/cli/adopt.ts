import { realpath, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import type { AdoptionRequest, Done } from '../adopt/adoption.ts';
import { adopt, previewAdoption, previewRevert, revert, undo } from '../adopt/adoption.ts';
import { restartService } from '../adopt/service.ts';
import { Tree } from '../adopt/tree.ts';
import type { LoadedConfig } from '../config/load.ts';
import { loadConfig } from '../config/load.ts';
import { AgentError, describeError, toFailure } from '../core/errors.ts';
import { version } from '../core/version.ts';
import type { AdoptReport } from './adopt-report.ts';
import { adoptDocument, adoptExitCode, adoptExitCodeHelp } from './adopt-report.ts';
import { adoptTable } from './adopt-table.ts';
import type { ConfigOptions } from './config-options.ts';
import { addConfigOptions } from './config-options.ts';
import type { CliContext } from './context.ts';
import { defaultConfigFile } from './default-config.ts';
import { Progress } from './doctor-progress.ts';
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

/** `nodecertd adopt`: hands a kubelet's certificates over to the agent, and back. */
export function configure(
  command: Command,
  context: CliContext,
  exit: (code: number) => void,
): void {
  addConfigOptions(command, [
    'kubeconfig',
    'bootstrapKubeconfig',
    'certDir',
    'hostnameOverride',
    'stateDir',
    'kubeletConfig',
    'kubeletConfigDir',
  ]);
  command
    .option('--dry-run', 'show what would be changed, and change nothing (the default)')
    .option('--yes', 'make the changes, all or none')
    .option('--revert', 'put back what was changed')
    .option('--force', 'with --revert: also files that were changed since')
    .option('--restart', 'with --yes: restart the kubelet, and wait until it stays up')
    .option(
      '--root <folder>',
      'an image unpacked there; all paths, that of --config too, are in it',
    )
    .addOption(outputOption())
    .addHelpText('after', `\n${adoptExitCodeHelp}`)
    .action(async ({ output, ...options }: AdoptOptions) => {
      requireSense(options);
      const request = await requestFor(options, context);
      const report = await work(request, options, context);
      const { stdout } = context;
      const colour = canDrawLive(stdout, process.env) && wantsColor(process.env);
      const table = (): string => adoptTable(report, colour);
      stdout.write(await print(output, adoptDocument(report), table));
      exit(adoptExitCode(report));
    });
}

function requireSense({
  yes,
  dryRun,
  force,
  revert,
  restart,
  root,
}: Omit<AdoptOptions, 'output'>): void {
  const faults: readonly (readonly [boolean, string])[] = [
    [yes === true && dryRun === true, '--yes and --dry-run exclude each other'],
    [force === true && revert === undefined, '--force is for --revert only'],
    [restart === true && yes === undefined, '--restart is for --yes only'],
    [
      restart === true && root !== undefined,
      'the kubelet of an image (--root) cannot be restarted',
    ],
  ];
  for (const [wrong, message] of faults) if (wrong) throw usage(message);
}

function usage(message: string): AgentError {
  return new AgentError('USAGE', message, { remedy: 'see nodecertd adopt --help' });
}

async function requestFor(
  { config: named, root, ...flags }: Omit<AdoptOptions, 'output'>,
  context: CliContext,
): Promise<AdoptionRequest> {
  const { environment, clock } = context;
  const common = { clock, version, signal: new AbortController().signal };
  if (root === undefined) {
    const file = named ?? (flags.certDir === undefined ? await defaultConfigFile() : undefined);
    const config = await loadConfig({ file, flags, environment });
    return { ...common, tree: new Tree('/'), config, hostName: environment.hostName };
  }
  const tree = new Tree(await imageAt(resolve(environment.workingDirectory, root)));
  const hostName = (await tree.readText('/etc/hostname'))?.trim() || undefined;
  const file = named ?? '/etc/nodecertd/config.yaml';
  const given = named !== undefined || (await tree.readText(file)) !== undefined;
  const loaded = await loadConfig({
    file: given ? (await tree.locate(file)).physical : undefined,
    flags,
    environment: { hostName: hostName ?? 'localhost', workingDirectory: '/' },
  });
  return { ...common, tree, config: withinImage(loaded, tree.root), hostName };
}

async function imageAt(folder: string): Promise<string> {
  const found = await stat(folder).catch(() => undefined);
  if (found?.isDirectory() !== true) throw usage(`--root: there is no folder ${folder}`);
  const real = await realpath(folder);
  const { dev, ino } = await stat(real);
  // The root of a process, /proc/PID/root, is a link to / by its text, and to another place in truth.
  const root = dev === found.dev && ino === found.ino ? real : folder;
  if (root === '/') throw usage('--root: / is this machine, and no image; leave --root out');
  return root;
}

/** Paths that are relative to the file were made absolute outside of the image. */
function withinImage(config: LoadedConfig, root: string): LoadedConfig {
  const inside = (path: string): string =>
    path.startsWith(join(root, '/')) ? path.slice(root.length) : path;
  const { bootstrapKubeconfig, kubelet } = config;
  return {
    ...config,
    kubeconfig: inside(config.kubeconfig),
    certificateDirectory: inside(config.certificateDirectory),
    stateDirectory: inside(config.stateDirectory),
    ...(bootstrapKubeconfig !== undefined && { bootstrapKubeconfig: inside(bootstrapKubeconfig) }),
    kubelet: {
      ...kubelet,
      configFile: inside(kubelet.configFile),
      certificateDirectory: inside(kubelet.certificateDirectory),
      ...(kubelet.configDirectory !== undefined && {
        configDirectory: inside(kubelet.configDirectory),
      }),
    },
  };
}

async function work(
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
  const force = options.force === true;
  const done = await (action === 'adopt' ? adopt(request) : revert(request, { force }));
  const refused = done.plan.obstacles.length > 0 && !force;
  if (refused) return { ...common, plan: done.plan, done: false, restarted: false };
  const restarted = options.restart === true && (await restart(request, done, context));
  const did = restarted || done.plan.steps.length > 0;
  return { ...common, plan: done.plan, done: did, restarted };
}

/** A kubelet that does not come up with the changes gets its files back. */
async function restart(
  request: AdoptionRequest,
  { plan, run }: Done,
  { stderr, clock }: CliContext,
): Promise<boolean> {
  if (plan.restart === undefined) return false;
  const { unit, command } = plan.restart;
  if (unit === undefined) {
    throw new AgentError('KUBELET_RESTART', 'it is not known what restarts this kubelet', {
      remedy: command,
    });
  }
  using progress = new Progress(stderr, clock).start();
  const restartIt = async (): Promise<void> => {
    progress.note(`${unit} to stay up`, 'started');
    await restartService({ unit, clock, signal: request.signal });
  };
  try {
    await restartIt();
    return true;
  } catch (error) {
    if (run === undefined) throw error;
    await undo(request, run);
    throw await afterUndo(error, restartIt);
  }
}

async function afterUndo(cause: unknown, restartIt: () => Promise<void>): Promise<AgentError> {
  const { remedy } = toFailure(cause);
  const again = await restartIt().then(
    () => 'it was restarted with them',
    (error: unknown) => `with them, too: ${describeError(error)}`,
  );
  return new AgentError(
    'KUBELET_RESTART',
    `${describeError(cause)}; the files are as they were before, and ${again}`,
    { cause, ...(remedy !== undefined && { remedy }) },
  );
}
