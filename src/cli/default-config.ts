import { access } from 'node:fs/promises';

/** Where the package puts it. */
export const installedConfigFile = '/etc/nodecertd/config.yaml';

/** The configuration of this machine's agent, for commands that are told nothing else; undefined when there is none. */
export async function defaultConfigFile(): Promise<string | undefined> {
  return access(installedConfigFile).then(
    () => installedConfigFile,
    () => undefined,
  );
}
