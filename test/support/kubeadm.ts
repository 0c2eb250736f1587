import { execFile } from 'node:child_process';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { controlPlaneDirectory, isExecutable, kubernetesVersion, skip } from './programs.ts';

/** kubeadm, the reference for the certificates of a control-plane node. */
export function kubeadmProgram(): string {
  return join(controlPlaneDirectory(), 'kubeadm');
}

/** For the `skip` option of a test. @throws in CI, where no test may be skipped */
export function skipWithoutKubeadm(): string | false {
  if (isExecutable(kubeadmProgram())) return false;
  return skip('tests that need kubeadm: not built (make control-plane)');
}

const configuration = `apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: { advertiseAddress: 192.0.2.1 }
nodeRegistration: { name: cp1 }
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: ${kubernetesVersion()}
`;

/** kubeadm changes its root directory, which needs root, to keep its files out of /etc. */
export async function kubeadm(root: string, ...args: readonly string[]): Promise<string> {
  const all = [...args, '--rootfs', root, '--config', '/config.yaml'];
  const { stdout } = await promisify(execFile)(kubeadmProgram(), all);
  return stdout;
}

/** A folder with the certificates and kubeconfigs that `kubeadm init` makes. The caller removes it. */
export async function makeKubeadmRoot(): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'nodecertd-kubeadm-'));
  await writeFile(join(root, 'config.yaml'), configuration);
  await kubeadm(root, 'init', 'phase', 'certs', 'all');
  await kubeadm(root, 'init', 'phase', 'kubeconfig', 'all');
  return root;
}
