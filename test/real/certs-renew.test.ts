import assert from 'node:assert/strict';
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { parse } from 'yaml';
import { extensionIds } from '../../src/core/certificate-parts.ts';
import type { ChainCertificate } from '../../src/pki/renewal/certificate-chain.ts';
import { readCertificates } from '../../src/pki/renewal/certificate-chain.ts';
import { describeKind, kindOf } from '../../src/pki/renewal/key-file.ts';
import { authorityFile, fileOf, keyFileOf, kubeadmCertificates } from '../../src/pki/layout.ts';
import type { KubeadmCertificate } from '../../src/pki/layout.ts';
import { renew } from '../../src/pki/renewal/renewal.ts';
import { openssl } from '../core/openssl.ts';
import { optionsFor, requestFor } from '../pki/renewal/renewal-tree.ts';
import { nodecertd } from '../support/doctor.ts';
import { RealKubeadmTree } from '../support/kubeadm-tree.ts';
import { skipWithoutKubeadm } from '../support/kubeadm.ts';
import type { PairCounts } from './pair-reader.worker.ts';

/** `certs renew` beside kubeadm's own, on trees that kubeadm made. */

const skip = skipWithoutKubeadm();

interface Credential {
  readonly leaf: ChainCertificate;
  readonly key: string;
}

async function credential(tree: RealKubeadmTree, entry: KubeadmCertificate): Promise<Credential> {
  const file = fileOf(entry, tree);
  const [certificate, key] =
    entry.kind === 'pair'
      ? [await readFile(file), await readFile(keyFileOf(file))]
      : embedded(await readFile(file, 'utf8'));
  const [leaf] = await readCertificates(certificate);
  assert.ok(leaf !== undefined);
  return { leaf, key: key.toString() };
}

function embedded(text: string): [Buffer, Buffer] {
  const { users } = parse(text) as { users: { user: Record<string, string> }[] };
  const data = (name: string): Buffer => Buffer.from(users[0]?.user[name] ?? '', 'base64');
  return [data('client-certificate-data'), data('client-key-data')];
}

/** The extensions without the identifier of the CA's key, which is compared on its own. */
function extensionsOf({ parts }: ChainCertificate): string[] {
  return parts.extensions
    .filter(({ oid }) => oid !== extensionIds.subjectKeyIdentifier)
    .map(({ encoded }) => encoded.toHex());
}

const algorithms = [
  ['ECDSA-P256', 'ECDSA P-256', 'EC PRIVATE KEY'],
  ['ECDSA-P384', 'ECDSA P-384', 'EC PRIVATE KEY'],
  ['RSA-2048', 'RSA 2048', 'RSA PRIVATE KEY'],
  ['RSA-4096', 'RSA 4096', 'RSA PRIVATE KEY'],
] as const;

describe('certs renew --all on a tree of kubeadm', { skip }, () => {
  for (const [algorithm, kind, label] of algorithms) {
    it(`keeps everything with ${algorithm}, and kubeadm and OpenSSL accept it`, async () => {
      await using tree = await RealKubeadmTree.create({ algorithm });
      await using previous = await tree.copy();
      const { code, stderr } = await nodecertd(
        'certs',
        'renew',
        '--all',
        '--yes',
        '--no-verify',
        '--restart',
        'never',
        '--kubernetes-dir',
        tree.kubernetes,
      );
      // Two components have to be restarted.
      assert.deepEqual([code, stderr], [3, '']);
      for (const entry of kubeadmCertificates) {
        const [old, now] = [await credential(previous, entry), await credential(tree, entry)];
        const { name } = entry;
        assert.deepEqual(now.leaf.parts.subject, old.leaf.parts.subject, name);
        assert.deepEqual(extensionsOf(now.leaf), extensionsOf(old.leaf), name);
        assert.notEqual(now.leaf.facts.serial, old.leaf.facts.serial, name);
        assert.ok(now.leaf.facts.notAfter >= old.leaf.facts.notAfter, name);
        assert.equal(describeKind(kindOf(createPrivateKey(now.key))), kind, name);
        assert.ok(now.leaf.openssl.checkPrivateKey(createPrivateKey(now.key)), name);
        assert.ok(!old.leaf.openssl.checkPrivateKey(createPrivateKey(now.key)), name);
        const found = /^-----BEGIN (.*)-----$/m.exec(now.key)?.[1];
        assert.equal(found, /^-----BEGIN (.*)-----$/m.exec(old.key)?.[1], name);
        assert.equal(found, label, name);
        const ca = authorityFile(entry.authority, tree);
        const pem = Buffer.from(now.leaf.openssl.toString());
        assert.equal(openssl(['verify', '-x509_strict', '-CAfile', ca], pem), 'stdin: OK\n');
      }
      const theirs = await tree.kubeadm('certs', 'check-expiration', '-o', 'json');
      const { certificates } = JSON.parse(theirs) as { certificates: { missing?: boolean }[] };
      assert.equal(certificates.length, kubeadmCertificates.length);
      assert.ok(certificates.every(({ missing }) => missing !== true));
      assert.match(await tree.kubeadm('certs', 'renew', 'apiserver'), /renewed/);
    });
  }
});

const times = 150;

/** The share of reads after which a server could not start. */
function faultShare({ reads, mismatched, truncated }: PairCounts): number {
  return (mismatched + truncated) / reads;
}

/** Counts what a reader of certificate and key sees while they are renewed. */
async function watched(
  tree: RealKubeadmTree,
  renewOnce: () => Promise<unknown>,
): Promise<PairCounts> {
  const worker = new Worker(new URL('pair-reader.worker.ts', import.meta.url), {
    workerData: {
      certificate: join(tree.certificates, 'apiserver.crt'),
      key: join(tree.certificates, 'apiserver.key'),
    },
  });
  await new Promise((resolve) => worker.once('message', resolve));
  for (let time = 0; time < times; time += 1) await renewOnce();
  const counts = new Promise<PairCounts>((resolve) => worker.once('message', resolve));
  worker.postMessage('stop');
  const found = await counts;
  await worker.terminate();
  return found;
}

describe('a busy reader of certificate and key', { skip }, () => {
  let model: RealKubeadmTree | undefined;
  before(async () => {
    if (skip === false) model = await RealKubeadmTree.create({ algorithm: 'ECDSA-P256' });
  });
  after(async () => model?.[Symbol.asyncDispose]());

  it('sees no part of a file, and a twentieth of the faults of kubeadm', async (context) => {
    assert.ok(model !== undefined);
    await using theirs = await model.copy();
    const kubeadmCounts = await watched(theirs, async () =>
      theirs.kubeadm('certs', 'renew', 'apiserver'),
    );
    await using ours = await model.copy();
    const options = { ...optionsFor({ selection: ['apiserver'] }), describe: () => ({}) };
    const request = requestFor(ours);
    const ourCounts = await watched(ours, async () => {
      const { result } = await renew(request, { ...options, endpoints: [] });
      assert.equal(result.failed, undefined);
    });
    context.diagnostic(`kubeadm ${JSON.stringify(kubeadmCounts)}`);
    context.diagnostic(`nodecertd ${JSON.stringify(ourCounts)}`);
    assert.equal(ourCounts.truncated, 0);
    assert.ok(ourCounts.reads > 1000);
    assert.ok(faultShare(ourCounts) <= faultShare(kubeadmCounts) / 20);
    const now = new X509Certificate(await readFile(join(ours.certificates, 'apiserver.crt')));
    const key = await readFile(join(ours.certificates, 'apiserver.key'));
    assert.ok(now.checkPrivateKey(createPrivateKey(key)));
  });
});
