import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import type { LocalControlPlane } from '../../../src/trust/cluster/local-control-plane.ts';
import { readLocalControlPlane } from '../../../src/trust/cluster/local-control-plane.ts';
import { temporaryDirectory } from '../../store/pairs.ts';
import { renewed } from '../node/authority.ts';
import { next, old, other, writeControlPlane } from './control-plane-files.ts';

async function reading(
  context: TestContext,
  files: Readonly<Record<string, string>>,
): Promise<LocalControlPlane> {
  const authorities = { old: old.authority, next: next.authority };
  return readLocalControlPlane(await writeControlPlane(context, files), authorities);
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
