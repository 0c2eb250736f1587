import { KubeClient } from '../../../src/kube/rest-client.ts';
import { loadKubeconfig } from '../../../src/kube/kubeconfig.ts';
import { systemClock } from '../../../src/sys/clock.ts';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryFolder } from './api-server.ts';

/** A client with a kubeconfig that embeds its credential. */
export async function clientFor(kubeconfig: string): Promise<KubeClient> {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'kubeconfig');
  await writeFile(path, kubeconfig);
  const access = await loadKubeconfig(path);
  return await KubeClient.open({ access, version: 'test', clock: systemClock });
}
