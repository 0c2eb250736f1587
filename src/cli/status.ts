import { join } from 'node:path';
import type { Command } from 'commander';
import type { LoadedConfig } from '../config/load.ts';
import type { Failure } from '../core/errors.ts';
import { inspectNodeKubeconfig } from '../doctor/kubeconfig-state.ts';
import { observedCertificates, readKubelet } from '../kubelet/rotation.ts';
import { currentLink } from '../core/certificate-spec.ts';
import type { Clock } from '../sys/clock.ts';
import { askAgent } from './agent-status.ts';
import type { ConfigOptions } from './config-options.ts';
import { addConfigOptions } from './config-options.ts';
import type { CliContext } from './context.ts';
import { loadNodeConfig } from './default-config.ts';
import { readDirectory } from './directory-status.ts';
import type { OutputFormat } from './print.ts';
import { outputOption, print } from './print.ts';
import type { StatusReport } from './status-report.ts';
import { reportDocument, reportExitCode, statusExitCodes } from './status-report.ts';
import { statusTable } from './status-table.ts';

interface StatusOptions extends ConfigOptions {
  readonly output: OutputFormat;
}

export const exitCodes = statusExitCodes;

/** `nodecertd status`: asks the running agent, or reads the directory if there is none. */
export function configure(
  command: Command,
  context: CliContext,
  exit: (code: number) => void,
): void {
  addConfigOptions(command, ['certDir', 'stateDir', 'hostnameOverride', 'metricsAddress']);
  command.addOption(outputOption());
  command.action(async ({ output, ...options }: StatusOptions) => {
    const config = await loadNodeConfig(options, context);
    const report = await statusReport(config, context.clock);
    const table = (): string => statusTable(report);
    context.stdout.write(await print(output, reportDocument(report), table));
    exit(reportExitCode(report));
  });
}

/** Without a configuration file, the path of the kubeconfig is only a default. */
async function kubeconfigFailure(config: LoadedConfig, clock: Clock): Promise<Failure | undefined> {
  if (config.file === undefined) return undefined;
  const client = config.certificates.find(({ profile }) => profile === 'kubelet-client');
  const pairLink = client && join(config.certificateDirectory, currentLink(client.name));
  const state = await inspectNodeKubeconfig(config, { pairLink, clock });
  return state.kind === 'invalid' ? state.failure : undefined;
}

async function statusReport(config: LoadedConfig, clock: Clock): Promise<StatusReport> {
  const answer = await askAgent(config);
  if (answer.kind === 'running') return answer.report;
  const { certificateDirectory: directory, nodeName, placeholderHostName } = config;
  const { certificates, file } = config;
  const now = clock.now();
  // Without a configuration file, the expected certificates are unknown.
  const kubelet = await readKubelet(config).catch(() => undefined);
  const observed = await observedCertificates(config, kubelet);
  const expected = file === undefined ? [] : certificates.map(({ name }) => name);
  const windows = new Map(certificates.map((spec) => [spec.name, spec.rotationWindow]));
  const failure = await kubeconfigFailure(config, clock);
  return {
    source: 'directory',
    ...(answer.note !== undefined && { note: answer.note }),
    nodeName,
    ...(placeholderHostName !== undefined && { placeholderHostName }),
    certificateDirectory: directory,
    now,
    ...(failure !== undefined && { kubeconfig: failure }),
    certificates: await readDirectory({ directory, expected, nodeName, windows, observed, now }),
  };
}
