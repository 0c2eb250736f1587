import type { Command } from 'commander';
import type { LoadedConfig } from '../config/load.ts';
import { loadConfig } from '../config/load.ts';
import { readKubeletConfig } from '../kubelet/configuration.ts';
import { observedCertificates } from '../kubelet/rotation.ts';
import { askAgent } from './agent-status.ts';
import type { ConfigOptions } from './config-options.ts';
import { addConfigOptions } from './config-options.ts';
import type { CliContext } from './context.ts';
import { defaultConfigFile } from './default-config.ts';
import { readDirectory } from './directory-status.ts';
import { exitCodeHelp } from './exit-code.ts';
import type { OutputFormat } from './print.ts';
import { outputOption, print } from './print.ts';
import type { StatusReport } from './status-report.ts';
import { reportDocument, reportExitCode } from './status-report.ts';
import { statusTable } from './status-table.ts';

interface StatusOptions extends ConfigOptions {
  readonly output: OutputFormat;
}

/** `nodecertd status`: asks the running agent, or reads the directory if there is none. */
export function configure(
  command: Command,
  context: CliContext,
  exit: (code: number) => void,
): void {
  addConfigOptions(command, ['certDir', 'stateDir', 'hostnameOverride', 'metricsAddress']);
  command.addOption(outputOption()).addHelpText('after', `\n${exitCodeHelp}`);
  command.action(async ({ output, config, ...flags }: StatusOptions) => {
    const file = config ?? (flags.certDir === undefined ? await defaultConfigFile() : undefined);
    const loaded = await loadConfig({ file, flags, environment: context.environment });
    const report = await statusReport(loaded, context.clock.now());
    const table = (): string => statusTable(report);
    context.stdout.write(await print(output, reportDocument(report), table));
    exit(reportExitCode(report));
  });
}

async function statusReport(config: LoadedConfig, now: number): Promise<StatusReport> {
  const answer = await askAgent(config);
  if (answer.kind === 'running') return answer.report;
  const { certificateDirectory: directory, nodeName, certificates, file } = config;
  // Without a configuration file, the expected certificates are unknown.
  const kubelet = await readKubeletConfig(config).catch(() => undefined);
  const observed = await observedCertificates(config, kubelet);
  const expected = file === undefined ? [] : certificates.map(({ name }) => name);
  return {
    source: 'directory',
    ...(answer.note !== undefined && { note: answer.note }),
    nodeName,
    certificateDirectory: directory,
    now,
    certificates: await readDirectory({ directory, expected, nodeName, observed, now }),
  };
}
