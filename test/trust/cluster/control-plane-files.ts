import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { stringify } from 'yaml';
import type { KubernetesDirectories } from '../../../src/pki/layout.ts';
import { pod } from '../../pki/components/manifests.ts';
import { issueWithOpenssl, leafExtensions } from '../../pki/renewal/openssl-authority.ts';
import { kubeconfigOf, writePair } from '../../pki/renewal/renewal-tree.ts';
import { temporaryDirectory } from '../../store/pairs.ts';
import { makeTestAuthority } from '../node/authority.ts';

export const old = makeTestAuthority({ subject: '/CN=kubernetes' });
export const next = makeTestAuthority({ subject: '/CN=kubernetes' });
export const other = makeTestAuthority({ subject: '/CN=other' });

export function leafBy(signer: typeof old): ReturnType<typeof issueWithOpenssl> {
  return issueWithOpenssl({ subject: '/CN=leaf', extensions: leafExtensions, signer });
}

/** A control-plane node in the middle of a rollover, with these files in its pki directory. */
export async function writeControlPlane(
  context: TestContext,
  files: Readonly<Record<string, string>>,
): Promise<KubernetesDirectories> {
  const kubernetes = await temporaryDirectory(context);
  await mkdir(join(kubernetes, 'manifests'));
  const pki = join(kubernetes, 'pki');
  await writePair(join(pki, 'apiserver.crt'), leafBy(next));
  await writePair(join(pki, 'apiserver-kubelet-client.crt'), leafBy(old));
  await writeFile(join(kubernetes, 'admin.conf'), kubeconfigOf(old.certificate, leafBy(next)));
  await writeFile(join(kubernetes, 'scheduler.conf'), 'clusters: [');
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(pki, name)), { recursive: true });
    await writeFile(join(pki, name), text);
  }
  const mounts = [{ name: 'k8s-certs', path: pki, type: 'DirectoryOrCreate' } as const];
  const commands = {
    'kube-apiserver': [
      `--client-ca-file=${pki}/ca.crt`,
      `--kubelet-client-certificate=${pki}/apiserver-kubelet-client.crt`,
      `--kubelet-certificate-authority=${pki}/kubelet-ca.crt`,
    ],
    'kube-controller-manager': [
      `--cluster-signing-cert-file=${pki}/ca-signing.crt`,
      `--cluster-signing-key-file=${pki}/ca-signing.key`,
      `--client-ca-file=${pki}/ca.crt`,
      `--root-ca-file=${pki}/ca-bundle.crt`,
    ],
  };
  for (const [name, flags] of Object.entries(commands)) {
    const manifest = stringify(pod({ name, command: [name, ...flags], mounts }));
    await writeFile(join(kubernetes, 'manifests', `${name}.yaml`), manifest);
  }
  return { kubernetes, certificates: pki };
}
