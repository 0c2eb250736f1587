import { access } from 'node:fs/promises';
import type { LoadedConfig } from '../config/load.ts';
import { loadConfig } from '../config/load.ts';
import type { ConfigOptions } from './config-options.ts';
import type { CliContext } from './context.ts';

/** The path at which the package installs it. */
export const installedConfigFile = '/etc/nodecertd/config.yaml';

/** The configuration of the installed agent, used by commands without --config; undefined if there is none. */
export async function defaultConfigFile(): Promise<string | undefined> {
  return access(installedConfigFile).then(
    () => installedConfigFile,
    () => undefined,
  );
}

/**
 * The configuration for a command about this node. With --cert-dir but without --config,
 * the command ignores the configuration of the installed agent, which may have another
 * directory.
 */
export async function loadNodeConfig(
  { config, ...flags }: ConfigOptions,
  { environment }: CliContext,
): Promise<LoadedConfig> {
  const file = config ?? (flags.certDir === undefined ? await defaultConfigFile() : undefined);
  return loadConfig({ file, flags, environment });
}
