import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { extensionIds, extensionOf } from '../../../src/core/certificate-parts.ts';
import { readCertificates } from '../../../src/pki/renewal/certificate-chain.ts';
import { authorityFile, fileOf, keyFileOf, kubeadmCertificates } from '../../../src/pki/layout.ts';
import { adviceFor } from '../../../src/pki/renewal/renewal-advice.ts';
import { rollBackTo } from '../../../src/pki/renewal/renewal.ts';
import { openssl } from '../../core/openssl.ts';
import {
  existing,
  exportFor,
  externalTree,
  filesOf,
  importInto,
  intermediateOf,
  pendingFolder,
  pendingKey,
  planOf,
  sign,
  signAll,
  signWithOpensslCa,
} from './external-tree.ts';
import { authorityOf } from './openssl-authority.ts';
import { requestFor, sharedTree } from './renewal-tree.ts';

const model = sharedTree();

const copied = [extensionIds.subjectAltName, extensionIds.keyUsage, extensionIds.extendedKeyUsage];

describe('renew() from a folder', () => {
  it('puts every certificate that openssl signed in place, and rolls back', async (context) => {
    const tree = await externalTree(context, model);
    const previous = await filesOf(tree);
    await exportFor(tree);
    await signAll(tree);
    const { renewed, failed } = await importInto(tree);
    assert.equal(failed, undefined);
    assert.equal(renewed.length, kubeadmCertificates.length);
    for (const { name, authority, kind, file } of kubeadmCertificates) {
      const [old, now] = [await existing(model, name), await existing(tree, name)];
      const pem = Buffer.from(now.openssl.toString());
      const ca = authorityFile(authority, tree);
      assert.equal(openssl(['verify', '-CAfile', ca], pem), 'stdin: OK\n');
      assert.deepEqual(now.parts.subject, old.parts.subject);
      for (const oid of copied) {
        const [a, b] = [extensionOf(old.parts, oid), extensionOf(now.parts, oid)];
        assert.deepEqual(a?.encoded, b?.encoded, `${name} ${oid}`);
      }
      assert.notDeepEqual(now.parts.publicKey, old.parts.publicKey);
      if (kind !== 'pair') continue;
      const key = await readFile(keyFileOf(fileOf({ kind, file }, tree)), 'utf8');
      assert.match(key, /^-----BEGIN EC PRIVATE KEY-----\n/);
      assert.ok(now.openssl.checkPrivateKey(createPrivateKey(key)));
    }
    assert.deepEqual(await readdir(pendingFolder(tree)), []);
    await rollBackTo(requestFor(tree), { time: undefined, force: false });
    assert.deepEqual(await filesOf(tree), previous);
  });

  it('takes certificates from the new CA of a rollover, and embeds both CAs', async (context) => {
    const tree = await externalTree(context, model);
    const next = authorityOf({ subject: '/CN=kubernetes 2026-11' });
    const both = Buffer.concat([tree.authorities.ca.certificate, next.certificate]);
    await writeFile(authorityFile('ca', tree), both);
    const issued = kubeadmCertificates.filter(({ authority }) => authority === 'ca');
    await exportFor(
      tree,
      issued.map(({ name }) => name),
    );
    for (const { name } of issued) {
      const certificate = sign(join(tree.csrs, `${name}.csr`), next);
      await writeFile(join(tree.signed, `${name}.crt`), certificate);
    }
    assert.equal((await importInto(tree)).renewed.length, issued.length);
    const [, authority] = await readCertificates(both);
    for (const { name, kind, file } of issued) {
      const leaf = await existing(tree, name);
      assert.ok(authority && leaf.openssl.verify(authority.openssl.publicKey), name);
      if (kind === 'pair') continue;
      const kubeconfig = await readFile(fileOf({ kind, file }, tree), 'utf8');
      assert.ok(kubeconfig.includes(both.toString('base64')), name);
    }
  });

  it('accepts a certificate of openssl ca, which has its own order of the subject', async (context) => {
    const tree = await externalTree(context, model);
    await exportFor(tree, ['admin.conf']);
    await writeFile(
      join(tree.signed, 'admin.conf.pem'),
      signWithOpensslCa(join(tree.csrs, 'admin.conf.csr'), tree.authorities.ca),
    );
    const { renewed } = await importInto(tree);
    assert.equal(renewed.length, 1);
    const leaf = await existing(tree, 'admin.conf');
    assert.equal(leaf.openssl.subject, 'CN=kubernetes-admin\nO=kubeadm:cluster-admins');
  });

  for (const order of ['first', 'last'] as const) {
    it(`keeps the intermediate CA of a file with the leaf ${order}`, async (context) => {
      const tree = await externalTree(context, model);
      const intermediate = intermediateOf(tree);
      await exportFor(tree, ['apiserver']);
      const leaf = sign(join(tree.csrs, 'apiserver.csr'), intermediate);
      const others = [intermediate.certificate, tree.authorities.ca.certificate];
      const file = [leaf, ...others];
      if (order === 'last') file.reverse();
      await writeFile(join(tree.signed, 'apiserver.crt'), file.join(''));
      assert.equal((await importInto(tree)).renewed.length, 1);
      const pem = await readFile(join(tree.certificates, 'apiserver.crt'));
      const subjects = (await readCertificates(pem)).map((one) => one.openssl.subject);
      assert.deepEqual(subjects, ['CN=kube-apiserver', 'CN=intermediate']);
    });
  }

  it('keeps the pending keys of other certificates during renewals and rollbacks', async (context) => {
    const tree = await externalTree(context, model);
    await exportFor(tree, ['apiserver', 'admin.conf']);
    const csr = join(tree.csrs, 'admin.conf.csr');
    await writeFile(join(tree.signed, 'admin.conf.crt'), sign(csr, tree.authorities.ca));
    assert.equal((await importInto(tree)).renewed.length, 1);
    await rollBackTo(requestFor(tree), { time: undefined, force: false });
    assert.deepEqual(await readdir(pendingFolder(tree)), ['apiserver.key']);
  });

  it('reports an earlier end of the new certificate', async (context) => {
    const tree = await externalTree(context, model);
    await exportFor(tree, ['apiserver']);
    const csr = join(tree.csrs, 'apiserver.csr');
    const certificate = sign(csr, tree.authorities.ca, 30);
    await writeFile(join(tree.signed, 'apiserver.crt'), certificate);
    const [planned] = await planOf(tree);
    assert.ok(planned?.kind === 'renew');
    const [advice] = adviceFor(planned.item);
    assert.match(
      advice?.what ?? '',
      /^apiserver will expire at \S+, before the existing .* \(\S+Z\)$/,
    );
  });

  it('removes a pending key that a crash left after the import', async (context) => {
    const tree = await externalTree(context, model);
    await exportFor(tree, ['apiserver']);
    const key = await readFile(pendingKey(tree, 'apiserver'));
    const csr = join(tree.csrs, 'apiserver.csr');
    await writeFile(join(tree.signed, 'apiserver.crt'), sign(csr, tree.authorities.ca));
    await importInto(tree);
    await writeFile(pendingKey(tree, 'apiserver'), key, { mode: 0o600 });
    const [planned] = await exportFor(tree, ['apiserver']);
    assert.ok(planned?.kind === 'request' && planned.key.source === 'new');
    await writeFile(pendingKey(tree, 'apiserver'), key, { mode: 0o600 });
    assert.deepEqual(
      (await planOf(tree)).map(({ kind }) => kind),
      ['imported'],
    );
    await importInto(tree);
    assert.deepEqual(await readdir(pendingFolder(tree)), []);
  });

  it('knows a certificate of an earlier import', async (context) => {
    const tree = await externalTree(context, model);
    const kinds = async (): Promise<string[]> => (await planOf(tree)).map(({ kind }) => kind);
    await exportFor(tree, ['apiserver']);
    const csr = join(tree.csrs, 'apiserver.csr');
    await writeFile(join(tree.signed, 'apiserver.crt'), sign(csr, tree.authorities.ca));
    await importInto(tree);
    assert.deepEqual(await kinds(), ['imported']);
    await exportFor(tree, ['apiserver']);
    assert.deepEqual(await kinds(), ['pending']);
  });

  it('waits for a certificate that is not in the folder', async (context) => {
    const tree = await externalTree(context, model);
    await exportFor(tree, ['apiserver', 'scheduler.conf']);
    const csr = join(tree.csrs, 'scheduler.conf.csr');
    await writeFile(join(tree.signed, 'scheduler.conf.crt'), sign(csr, tree.authorities.ca));
    assert.deepEqual(
      (await planOf(tree)).map(({ kind }) => kind),
      ['pending', 'renew'],
    );
  });

  it('has nothing to import without a pending key and a certificate', async (context) => {
    const tree = await externalTree(context, model);
    await assert.rejects(
      planOf(tree),
      /\S+ has no pending key, and \S+ has no certificate of this node/,
    );
    await assert.rejects(planOf({ ...tree, signed: '/no/such' }), /there is no folder \/no\/such/);
  });
});
