import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { stringify } from 'yaml';
import type { LocalControlPlane } from '../../../src/trust/cluster/local-control-plane.ts';
import { readLocalControlPlane } from '../../../src/trust/cluster/local-control-plane.ts';
import { pod } from '../../pki/components/manifests.ts';
import { issueWithOpenssl, leafExtensions } from '../../pki/renewal/openssl-authority.ts';
import { kubeconfigOf, writePair } from '../../pki/renewal/renewal-tree.ts';
import { temporaryDirectory } from '../../store/pairs.ts';
import { makeTestAuthority, renewed } from '../node/authority.ts';

const old = makeTestAuthority({ subject: '/CN=kubernetes' });
const next = makeTestAuthority({ subject: '/CN=kubernetes' });
const other = makeTestAuthority({ subject: '/CN=other' });

function leafBy(signer: typeof old): ReturnType<typeof issueWithOpenssl> {
  return issueWithOpenssl({ subject: '/CN=leaf', extensions: leafExtensions, signer });
}

/** A control-plane node in a directory of its own, with these files in its pki directory. */
async function reading(
  context: TestContext,
  files: Readonly<Record<string, string>>,
): Promise<LocalControlPlane & { readonly pki: string }> {
  const kubernetes = await temporaryDirectory(context);
  const pki = join(kubernetes, 'pki');
  await mkdir(join(kubernetes, 'manifests'));
  await writePair(join(pki, 'apiserver.crt'), leafBy(next));
  await writePair(join(pki, 'apiserver-kubelet-client.crt'), leafBy(old));
  await writeFile(join(kubernetes, 'admin.conf'), kubeconfigOf(old.certificate, leafBy(next)));
  await writeFile(join(kubernetes, 'scheduler.conf'), 'clusters: [');
  for (const [name, text] of Object.entries(files)) await writeFile(join(pki, name), text);
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
  const authorities = { old: old.authority, next: next.authority };
  const found = await readLocalControlPlane({ kubernetes, certificates: pki }, authorities);
  return { ...found, pki };
}

/** Fewer parts than a place has, which begins with a temporary directory. */
function short(found: { readonly place: string; readonly issuer: string }): string {
  return `${found.place.replace(/ .*$/, '').split('/').at(-1)} ${found.issuer}`;
}

describe('readLocalControlPlane()', () => {
  it('finds the issuer of each certificate of the node', async (context) => {
    const { isControlPlane, leaves, kubeletClient } = await reading(context, {});
    assert.equal(isControlPlane, true);
    assert.deepEqual(leaves.map(short), [
      'admin.conf next',
      'apiserver.crt next',
      'apiserver-kubelet-client.crt old',
      'scheduler.conf unreadable',
    ]);
    assert.equal(kubeletClient?.issuer, 'old');
    assert.ok(Math.abs(Date.now() - kubeletClient.changedAt) < 3_600_000);
  });

  const signingFiles = [
    ['one CA', next.pem, 'next'],
    ['the old CA, renewed with its key', renewed(old).pem, 'old'],
    ['another CA', other.pem, 'other'],
    ['a bundle, with which nothing is signed', old.pem + next.pem, 'unreadable'],
    ['nothing', '', 'unreadable'],
  ] as const;
  for (const [name, text, issuer] of signingFiles) {
    it(`knows a signing file with ${name}`, async (context) => {
      const found = await reading(context, { 'ca-signing.crt': text });
      assert.deepEqual(found.signingFiles.map(short), [`ca-signing.crt ${issuer}`]);
    });
  }

  it('knows which CAs the files of the components have', async (context) => {
    const found = await reading(context, {
      'ca.crt': old.pem + next.pem,
      'ca-bundle.crt': other.pem + next.pem,
    });
    assert.deepEqual(
      found.trustFiles.map(({ flag, has, problem }) => [flag, has, problem]),
      [
        ['kube-apiserver --client-ca-file', ['old', 'next'], undefined],
        ['kube-apiserver --kubelet-certificate-authority', [], 'does not exist'],
        ['kube-controller-manager --client-ca-file', ['old', 'next'], undefined],
        ['kube-controller-manager --root-ca-file', ['next'], undefined],
      ],
    );
  });

  it('knows the CAs in kubeconfigs, and which keys match their certificates', async (context) => {
    const found = await reading(context, {
      'ca-signing.crt': old.pem,
      'ca-signing.key': old.key.toString(),
      'ca.crt': old.pem + next.pem,
      'ca.key': next.key.toString(),
    });
    assert.deepEqual(
      found.kubeconfigs.map(({ path, has, problem }) => [path.split('/').at(-1), has, problem]),
      [
        ['admin.conf', ['old'], undefined],
        ['scheduler.conf', [], 'cannot be read'],
      ],
    );
    assert.deepEqual(
      found.keys.map(({ key, matches }) => [key.split('/').at(-1), matches]),
      [
        ['ca-signing.key', true],
        ['ca.key', false],
      ],
    );
  });

  it('finds nothing on a machine without a control plane', async (context) => {
    const kubernetes = await temporaryDirectory(context);
    const authorities = { old: old.authority, next: next.authority };
    const directories = { kubernetes, certificates: join(kubernetes, 'pki') };
    const found = await readLocalControlPlane(directories, authorities);
    assert.deepEqual(found, {
      isControlPlane: false,
      leaves: [],
      signingFiles: [],
      trustFiles: [],
      kubeconfigs: [],
      keys: [],
    });
  });
});
