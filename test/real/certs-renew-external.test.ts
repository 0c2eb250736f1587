import assert from 'node:assert/strict';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { authorityFile, keyFileOf, kubeadmCertificates } from '../../src/pki/layout.ts';
import { openssl } from '../core/openssl.ts';
import { sign } from '../pki/renewal/external-tree.ts';
import type { OpensslPair } from '../pki/renewal/openssl-authority.ts';
import type { Ended } from '../support/doctor.ts';
import { nodecertd } from '../support/doctor.ts';
import { RealKubeadmTree } from '../support/kubeadm-tree.ts';
import { skipWithoutKubeadm } from '../support/kubeadm.ts';

/** CSRs beside those of `kubeadm certs generate-csr`, on a tree that kubeadm made. */

const skip = skipWithoutKubeadm();

let tree: RealKubeadmTree | undefined;
const at = (...names: readonly string[]): string => join(tree?.root ?? '', ...names);
before(async () => {
  if (skip !== false) return;
  tree = await RealKubeadmTree.create();
  const folders = ['--kubeconfig-dir', '/theirs', '--cert-dir', '/theirs/pki'];
  await tree.kubeadm('certs', 'generate-csr', ...folders);
});
after(async () => tree?.[Symbol.asyncDispose]());

async function renew(...args: readonly string[]): Promise<Ended> {
  return nodecertd('certs', 'renew', ...args, '--kubernetes-dir', at('etc/kubernetes'));
}

/** `openssl req` prints the subject and the SANs in their order. */
function contentOf(csr: string): { readonly subject: string; readonly names: string } {
  const subject = openssl(['req', '-in', csr, '-noout', '-verify', '-subject']);
  const text = openssl(['req', '-in', csr, '-noout', '-text']);
  const [, names = ''] = /Subject Alternative Name:.*\n\s+(.*)\n/.exec(text) ?? [];
  return { subject, names };
}

interface Expiration {
  readonly certificates: readonly {
    readonly name: string;
    readonly expirationDate: string;
    readonly missing?: boolean;
    readonly externallyManaged: boolean;
  }[];
}

describe('certs renew with an external CA beside kubeadm', { skip }, () => {
  it('--csr-out requests the subjects and SANs of kubeadm certs generate-csr', async () => {
    const { code, stderr } = await renew('--all', '--csr-out', at('ours'));
    assert.deepEqual([code, stderr], [0, '']);
    for (const { name, kind, file } of kubeadmCertificates) {
      const theirs =
        kind === 'pair'
          ? at('theirs/pki', file.replace(/crt$/, 'csr'))
          : at('theirs', `${file}.csr`);
      assert.deepEqual(contentOf(at('ours', `${name}.csr`)), contentOf(theirs), name);
    }
    assert.match(
      contentOf(at('ours/apiserver.csr')).names,
      /^DNS:cp1, .*IP Address:192\.0\.2\.1\b/,
    );
  });

  it('--import puts certificates in place that kubeadm lists', async () => {
    const directories = {
      kubernetes: at('etc/kubernetes'),
      certificates: at('etc/kubernetes/pki'),
    };
    const earlier = await expiration();
    await mkdir(at('signed'));
    for (const { name, authority } of kubeadmCertificates) {
      const certificate = authorityFile(authority, directories);
      const pair = await readPair(certificate);
      await writeFile(at('signed', `${name}.crt`), sign(at('ours', `${name}.csr`), pair, 500));
    }
    for (const name of ['ca', 'etcd-ca', 'front-proxy-ca'] as const) {
      await rm(keyFileOf(authorityFile(name, directories)));
    }
    const imported = await renew('--import', at('signed'), '--yes', '--no-verify');
    assert.deepEqual([imported.code, imported.stderr], [3, '']);
    const { certificates } = await expiration();
    assert.equal(certificates.length, kubeadmCertificates.length);
    for (const [index, found] of certificates.entries()) {
      assert.equal(found.missing, earlier.certificates[index]?.missing, found.name);
      assert.ok(found.externallyManaged, found.name);
      const previous = earlier.certificates[index]?.expirationDate ?? '';
      assert.ok(Date.parse(found.expirationDate) > Date.parse(previous), found.name);
    }
  });
});

async function expiration(): Promise<Expiration> {
  const text = (await tree?.kubeadm('certs', 'check-expiration', '-o', 'json')) ?? '';
  return JSON.parse(text) as Expiration;
}

async function readPair(certificateFile: string): Promise<OpensslPair> {
  const key = keyFileOf(certificateFile);
  return { certificate: await readFile(certificateFile), key: await readFile(key) };
}
