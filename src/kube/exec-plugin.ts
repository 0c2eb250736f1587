import { AgentError, describeError } from '../core/errors.ts';
import { second } from '../core/instant.ts';
import { printable, withoutSecrets } from '../core/printable.ts';
import { BoundedOutput } from '../sys/bounded-output.ts';
import type { Clock } from '../sys/clock.ts';
import { exposureOf } from '../sys/exposure.ts';
import { findProgram } from '../sys/find-program.ts';
import type { CommandEnd } from '../sys/run-command.ts';
import { describeEnd, runCommand } from '../sys/run-command.ts';
import type { ClusterAccess, ExecPlugin } from './cluster-access.ts';
import type { PluginCredential } from './exec-credential.ts';
import { execInfo, outputLimit, parseExecCredential } from './exec-credential.ts';
import type { Environment } from './proxy.ts';

/** client-go has no timeout, but a service would hang unnoticed. Cloud plugins take a few seconds. */
export const pluginTimeoutMs = 30 * second;

interface PluginRun {
  readonly access: ClusterAccess;
  readonly plugin: ExecPlugin;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly environment?: Environment;
}

/**
 * Runs the exec credential plugin of a kubeconfig. The plugin runs as root, so nodecertd
 * refuses a program or a kubeconfig that another user can change. nodecertd does not check
 * the files that the program loads.
 * @throws AgentError PLUGIN_FAILED, ABORTED
 */
export async function runExecPlugin(run: PluginRun): Promise<PluginCredential> {
  const { access, plugin, clock, signal, environment = process.env } = run;
  const own = inherited(environment);
  // As in client-go, a PATH variable in the kubeconfig does not affect the search for the program.
  const program = await findProgram(plugin.command, own.PATH);
  if (program === undefined) throw notFound(run, own.PATH);
  for (const path of [program, access.path]) await refuseExposed(run, path);
  // Disposal wipes the output, which contains the credential.
  using output = new BoundedOutput(outputLimit);
  const stderr: string[] = [];
  const { end } = await runCommand({
    argv: [program, ...plugin.args],
    env: {
      ...own,
      ...plugin.environment(),
      KUBERNETES_EXEC_INFO: execInfo(plugin, access.cluster),
    },
    clock,
    timeoutMs: pluginTimeoutMs,
    maxLines: stderrLines,
    onLine: (line) => stderr.push(line),
    onOutput: (chunk) => output.add(chunk),
    signal: AbortSignal.any([signal, output.overflow]),
  });
  if (output.overflow.aborted) {
    throw pluginFailure(run, { message: `printed more than ${outputLimit / 1024} kB` });
  }
  if (end.kind === 'aborted') throw new AgentError('ABORTED', `${nameOf(run)} was canceled`);
  if (end.kind !== 'exited' || end.code !== 0) throw endError(run, end, stderr);
  // The parsers need a string, which cannot be wiped and stays in memory until the enroller exits.
  return parse(run, output.text());
}

function parse(run: PluginRun, text: string): PluginCredential {
  const { plugin, access } = run;
  const result = parseExecCredential(text, plugin.apiVersion);
  switch (result.kind) {
    case 'credential':
      return result.credential;
    case 'malformed':
      throw pluginFailure(run, { message: `printed no usable ExecCredential: ${result.reason}` });
    case 'other-version':
      throw pluginFailure(run, {
        message: `returned apiVersion ${result.found}, but apiVersion in the kubeconfig is ${plugin.apiVersion}`,
        remedy: `Set apiVersion of exec in ${access.path} to the version that ${plugin.name} returns`,
      });
    default:
      return result satisfies never;
  }
}

/**
 * Variables that the launcher of nodecertd and systemd set for nodecertd alone. The plugin
 * inherits all others, as in client-go: HTTPS_PROXY, AWS_PROFILE and so on.
 */
const ownVariables = new Set([
  'GLIBC_TUNABLES',
  'MALLOC_ARENA_MAX',
  'MALLOC_TRIM_THRESHOLD_',
  'NODE_COMPILE_CACHE',
  'NODE_COMPILE_CACHE_PORTABLE',
  'NOTIFY_SOCKET',
  'WATCHDOG_PID',
  'WATCHDOG_USEC',
]);

const usualPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

function inherited(environment: Environment): Record<string, string> & { readonly PATH: string } {
  const kept = Object.entries(environment).filter(([name]) => !ownVariables.has(name));
  return {
    ...(Object.fromEntries(kept) as Record<string, string>),
    PATH: environment['PATH'] ?? usualPath,
  };
}

async function refuseExposed(run: PluginRun, path: string): Promise<void> {
  try {
    const exposure = await exposureOf(path);
    if (exposure === undefined) return;
    const { what, remedy } = exposure;
    throw pluginFailure(run, { message: `must not run as root: ${what}`, remedy });
  } catch (error) {
    if (error instanceof AgentError) throw error;
    throw pluginFailure(run, {
      message: `cannot run: ${describeError(error)}`,
      remedy: installRemedy(run),
    });
  }
}

function notFound(run: PluginRun, path: string): AgentError {
  return pluginFailure(run, {
    message: `was not found in PATH (${printable(path, 200)})`,
    remedy: installRemedy(run),
  });
}

function installRemedy({ plugin, access }: PluginRun): string {
  const hint = plugin.installHint;
  if (hint !== undefined) return `Install ${plugin.name}: ${hint}`;
  return `Install ${plugin.name} on this node, or set an absolute path as command of exec in ${access.path}`;
}

function endError(run: PluginRun, end: CommandEnd, stderr: readonly string[]): AgentError {
  return pluginFailure(run, { message: `${describeEnd(end, pluginTimeoutMs)}${quoted(stderr)}` });
}

/** Lines of standard error to keep. Errors show only the last two. */
const stderrLines = 1_000;

/**
 * The last two lines of standard error, where programs usually put the reason. The line
 * reader redacts keys and tokens. This function also redacts the rest of such a word, and
 * every word of 48 or more characters, such as a signed URL. No error shows standard output,
 * which contains the credential.
 */
function quoted(stderr: readonly string[]): string {
  const lines = stderr
    .slice(-2)
    .map((line) => printable(line.replace(/\S*…\S*|\S{48,}/g, '…'), 200));
  return lines.length === 0 ? '' : `: ${lines.join(' / ')}`;
}

/** An error about a plugin: `the exec plugin NAME of kubeconfig FILE MESSAGE`. */
export function pluginFailure(
  run: Pick<PluginRun, 'plugin' | 'access'>,
  details: { readonly message: string; readonly remedy?: string },
): AgentError {
  const { message, remedy = runRemedy(run.plugin) } = details;
  return new AgentError('PLUGIN_FAILED', `${nameOf(run)} ${message}`, { remedy });
}

function nameOf({ plugin, access }: Pick<PluginRun, 'plugin' | 'access'>): string {
  return `the exec plugin ${plugin.name} of kubeconfig ${access.path}`;
}

function runRemedy({ name, args }: ExecPlugin): string {
  const words = [name, ...args.map((word) => withoutSecrets(word, 80))].join(' ');
  return `Run the plugin as root and correct the error that it reports: ${printable(words, 300)}`;
}
