import { access } from 'node:fs/promises';

/** The path at which the package installs it. */
export const installedConfigFile = '/etc/nodecertd/config.yaml';

/** The configuration of the installed agent, used by commands without --config; undefined if there is none. */
export async function defaultConfigFile(): Promise<string | undefined> {
  return access(installedConfigFile).then(
    () => installedConfigFile,
    () => undefined,
  );
}
