import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { stringify } from 'yaml';
import { ApiServer, sendStatus } from '../../kube/support/api-server.ts';
import { makeAuthority } from '../../kube/support/certificates.ts';
import { nodeFilesAt } from '../../trust/node/node-files.ts';
import { oldSubject } from './change.ts';

const main = join(import.meta.dirname, '../../../src/main.ts');

/** A server that only the old CA verifies, and that has nothing but its certificate. */
export async function startServer(): Promise<ApiServer> {
  const authority = await makeAuthority(oldSubject.replace('CN=', ''));
  const reason = { reason: 'NotFound' };
  return ApiServer.start((_, response) => sendStatus(response, 404, reason), { authority });
}

/** The configuration of a node whose source is a file, and the arguments of `nodecertd trust`. */
export async function writeConfiguration(root: string, source: string): Promise<void> {
  const { kubeconfig, certificateDirectory, stateDirectory, configFile } = nodeFilesAt(root);
  const file = join(root, 'state/source.pem');
  await writeFile(file, source);
  const config = {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'AgentConfiguration',
    nodeName: 'worker-1',
    kubeconfig,
    certificateDirectory,
    stateDirectory,
    kubelet: { configFile, certificateDirectory },
    trust: { enabled: true, file, externalize: true, kubelet: 'none' },
  };
  await writeFile(configurationOf(root), stringify(config));
}

function configurationOf(root: string): string {
  return join(root, 'state/nodecertd.yaml');
}

export function syncArguments(root: string): readonly string[] {
  return ['sync', '--unattended', '--output', 'json', '--config', configurationOf(root)];
}

/** The next run of the agent reads the state that the killed one has left. */
export async function requireSync(root: string): Promise<void> {
  const { stdout } = await promisify(execFile)(process.execPath, [
    main,
    'trust',
    ...syncArguments(root),
  ]);
  const { outcome } = JSON.parse(stdout) as { readonly outcome: string };
  assert.ok(['changed', 'in-sync', 'waiting'].includes(outcome), stdout);
}
