import type { Command } from 'commander';
import { loadConfig } from '../config/load.ts';
import { createLogger } from '../sys/log.ts';
import type { ConfigOptions } from './config-options.ts';
import { addConfigOptions, allConfigFlags } from './config-options.ts';
import type { CliContext } from './context.ts';

/** `nodecertd run`: the agent, until it is told to stop. */
export function configure(
  command: Command,
  context: CliContext,
  exit: (code: number) => void,
): void {
  addConfigOptions(command, allConfigFlags);
  command.action(async ({ config: file, ...flags }: ConfigOptions) => {
    const config = await loadConfig({ file, flags, environment: context.environment });
    if (config.warnings.length > 0) {
      const logger = createLogger(config.log);
      for (const warning of config.warnings) logger.log('config_warning', { warning });
    }
    exit(await context.startAgent(config));
  });
}
