import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { ConfigFlags } from '../../src/config/flags.ts';
import type { LoadedConfig } from '../../src/config/load.ts';
import { loadConfig } from '../../src/config/load.ts';
import { temporaryDirectory } from '../store/pairs.ts';

/** A configuration with these lines after the first two. */
export async function loadText(
  context: TestContext,
  text: string,
  flags: ConfigFlags = {},
): Promise<LoadedConfig> {
  const file = join(await temporaryDirectory(context), 'config.yaml');
  await writeFile(file, `apiVersion: nodecertd.io/v1alpha1\nkind: AgentConfiguration\n${text}\n`);
  const environment = { hostName: 'worker-1', workingDirectory: '/' };
  return loadConfig({ file, flags, environment });
}
