import assert from 'node:assert/strict';
import { readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { KeyAlgorithm } from '../../../src/core/certificate-spec.ts';
import { extensionIds, extensionOf } from '../../../src/core/certificate-parts.ts';
import { day } from '../../../src/core/instant.ts';
import { encodePem } from '../../../src/core/pem.ts';
import { kubeadmCertificates } from '../../../src/pki/layout.ts';
import { exportRequests, previewExport } from '../../../src/pki/renewal/request-export.ts';
import { derOf, openssl } from '../../core/openssl.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { existing, exportFor, externalTree, filesOf, pendingKey } from './external-tree.ts';
import { requestFor, sharedTree } from './renewal-tree.ts';

const model = sharedTree();

const names = kubeadmCertificates.map(({ name }) => name);
const copied = [extensionIds.subjectAltName, extensionIds.keyUsage, extensionIds.extendedKeyUsage];

function publicKeyOf(csr: string): string {
  return openssl(['req', '-in', csr, '-noout', '-pubkey', '-verify']);
}

describe('exportRequests()', () => {
  it('writes a CSR with the bytes of each certificate, and changes nothing else', async (context) => {
    const tree = await externalTree(context, model);
    const previous = await filesOf(tree);
    await exportFor(tree);
    assert.deepEqual(await filesOf(tree), previous);
    assert.deepEqual((await readdir(tree.csrs)).sort(), names.map((name) => `${name}.csr`).sort());
    for (const name of names) {
      const csr = join(tree.csrs, `${name}.csr`);
      assert.match(publicKeyOf(csr), /^-----BEGIN PUBLIC KEY-----/);
      const der = Buffer.from(derOf(await readFile(csr)));
      const { parts } = await existing(tree, name);
      assert.ok(der.includes(parts.subject), name);
      for (const oid of copied) {
        const extension = extensionOf(parts, oid);
        assert.ok(extension === undefined || der.includes(extension.encoded), `${name} ${oid}`);
      }
    }
  });

  it('keeps a pending key that only root can read', async (context) => {
    const tree = await externalTree(context, model);
    await exportFor(tree, ['admin.conf']);
    const file = pendingKey(tree, 'admin.conf');
    assert.equal((await stat(file)).mode & 0o7777, 0o600);
    assert.equal((await stat(join(file, '..'))).mode & 0o7777, 0o700);
    const stray = join(file, '../.nodecertd-0123456789abcdef.apiserver.key');
    await writeFile(stray, await readFile(file));
    await exportFor(tree, ['admin.conf']);
    assert.deepEqual(await readdir(join(file, '..')), ['admin.conf.key']);
    const csr = await readFile(join(tree.csrs, 'admin.conf.csr'), 'utf8');
    assert.match(csr, /^-----BEGIN CERTIFICATE REQUEST-----\n/);
    assert.ok(!csr.includes('PRIVATE KEY'));
  });

  it('uses the pending key again unless another kind is chosen', async (context) => {
    const tree = await externalTree(context, model);
    const csr = join(tree.csrs, 'apiserver.csr');
    const exported = async (key?: KeyAlgorithm): Promise<readonly (string | undefined)[]> => {
      const [planned] = await exportFor(tree, ['apiserver'], key);
      return [planned?.kind === 'request' ? planned.key.source : undefined, publicKeyOf(csr)];
    };
    const first = await exported();
    assert.equal(first[0], 'new');
    assert.deepEqual(await exported(), ['pending', first[1]]);
    assert.deepEqual(await exported('ecdsa-p256'), ['pending', first[1]]);
    const other = await exported('rsa-2048');
    assert.equal(other[0], 'replaced');
    assert.notEqual(other[1], first[1]);
    assert.deepEqual(await exported(), ['pending', other[1]]);
  });

  it('needs neither a CA nor a certificate that is still valid', async (context) => {
    const tree = await externalTree(context, model);
    await rm(tree.certificates, { recursive: true });
    const clock = new FakeClock(Date.now() + 500 * day);
    const request = { ...requestFor(tree), clock };
    const options = { selection: ['admin.conf'], hostName: 'cp1', folder: tree.csrs };
    await exportRequests(request, options);
    assert.match(publicKeyOf(join(tree.csrs, 'admin.conf.csr')), /PUBLIC KEY/);
  });

  for (const key of ['ecdsa-p384', 'rsa-3072', 'ed25519'] as const) {
    it(`signs the CSR with a key of the kind ${key}`, async (context) => {
      const tree = await externalTree(context, model);
      await exportFor(tree, ['apiserver'], key);
      assert.match(publicKeyOf(join(tree.csrs, 'apiserver.csr')), /PUBLIC KEY/);
    });
  }

  it('refuses a certificate with a malformed public key unless a kind is chosen', async (context) => {
    const tree = await externalTree(context, model);
    const file = join(tree.certificates, 'apiserver.crt');
    const der = Buffer.from(derOf(await readFile(file)));
    const point = der.indexOf(Buffer.of(0x03, 0x42, 0x00, 0x04));
    der[point + 3] = 0x05;
    await writeFile(file, encodePem('CERTIFICATE', der));
    const [refused] = await exportFor(tree, ['apiserver']);
    assert.ok(refused?.kind === 'refused');
    assert.equal(refused.failure.code, 'KEY_UNSUPPORTED');
    const [planned] = await exportFor(tree, ['apiserver'], 'ecdsa-p256');
    assert.equal(planned?.kind, 'request');
  });

  it('refuses a corrupt pending key, without a part of it', async (context) => {
    const tree = await externalTree(context, model);
    await exportFor(tree, ['apiserver']);
    const file = pendingKey(tree, 'apiserver');
    const key = await readFile(file, 'utf8');
    await writeFile(file, key.slice(0, 120));
    const options = { selection: ['apiserver'], hostName: 'cp1', folder: tree.csrs };
    const [planned] = await previewExport(requestFor(tree), options);
    assert.ok(planned?.kind === 'refused');
    const { message, remedy = '' } = planned.failure;
    assert.match(message, /^the pending key cannot be used: \S+apiserver\.key contains no private/);
    assert.match(remedy, /^Delete it, and create a new CSR: rm \S+; nodecertd certs renew/);
    assert.ok(!`${message}${remedy}`.includes(key.split('\n')[1]?.slice(0, 20) ?? '-'));
  });
});
