import type { Command } from 'commander';
import type { LoadedConfig } from '../config/load.ts';
import { loadConfig } from '../config/load.ts';
import { hostNameProblem } from '../core/host-name.ts';
import type { ConfigOptions } from './config-options.ts';
import { addConfigOptions, allConfigFlags } from './config-options.ts';
import type { CliContext } from './context.ts';
import { exitCodes } from './exit-code.ts';

interface RunOptions extends ConfigOptions {
  readonly check?: boolean;
}

/** `nodecertd run`: runs the agent until it receives a stop signal. */
export function configure(
  command: Command,
  context: CliContext,
  exit: (code: number) => void,
): void {
  addConfigOptions(command, allConfigFlags);
  command.option('--check', 'validate the configuration and exit');
  command.action(async ({ config: file, check = false, ...flags }: RunOptions) => {
    const { environment, startAgent } = context;
    const load = (): Promise<LoadedConfig> => loadConfig({ file, flags, environment });
    const config = await load();
    if (!check) return exit(await startAgent({ config, loadConfig: load }));
    for (const warning of config.warnings) context.stderr.write(`warning: ${warning}\n`);
    const missing = hostNameProblem(config);
    if (missing !== undefined) {
      context.stderr.write(`warning: ${missing.message}\n  → ${missing.remedy}\n`);
    }
    const names = config.certificates.map(({ name }) => name).join(', ');
    const what = file === undefined ? 'The configuration from flags and defaults' : file;
    context.stdout.write(`${what} is valid. Certificates: ${names}\n`);
    exit(exitCodes.fine);
  });
}
