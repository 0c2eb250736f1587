import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { describe, it } from 'node:test';
import { day } from '../../../src/core/instant.ts';
import type { Signer } from '../../../src/pki/renewal/authority.ts';
import { findSigner } from '../../../src/pki/renewal/authority.ts';
import type { OpensslPair } from './openssl-authority.ts';
import {
  authorityOf,
  caExtensions,
  issueWithOpenssl,
  leafExtensions,
  parsed,
} from './openssl-authority.ts';

interface Scene {
  readonly leaf: OpensslPair;
  readonly file: readonly OpensslPair[];
  readonly key?: OpensslPair | undefined;
  readonly chain?: readonly OpensslPair[];
  readonly now?: number;
}

const leafOf = (signer: OpensslPair): OpensslPair =>
  issueWithOpenssl({ subject: '/CN=kube-apiserver', extensions: leafExtensions, signer });

async function find({
  leaf,
  file,
  key,
  chain = [],
  now = Date.now() + 1000,
}: Scene): Promise<Signer> {
  return findSigner({
    name: 'apiserver',
    leaf: await parsed(leaf),
    chain: await Promise.all(chain.map(parsed)),
    authority: {
      path: 'ca.crt',
      pem: Buffer.concat(file.map(({ certificate }) => certificate)),
      certificates: await Promise.all(file.map(parsed)),
      keyPath: 'ca.key',
      ...(key && { key: createPrivateKey(key.key) }),
    },
    file: 'apiserver.crt',
    now,
  });
}

const ca = authorityOf();
const other = authorityOf();
const leaf = leafOf(ca);

const root = (pathLength: number): OpensslPair =>
  authorityOf({
    subject: '/CN=root',
    extensions: [`basicConstraints=critical,CA:TRUE,pathlen:${pathLength}`],
  });
const below = (signer: OpensslPair): OpensslPair =>
  authorityOf({ subject: '/CN=intermediate', extensions: caExtensions, signer });

describe('findSigner()', () => {
  it('chooses the CA that signed the leaf, not the first of the file', async () => {
    const signer = await find({ leaf, file: [other, ca], key: ca });
    assert.equal(signer.kind, 'local');
    assert.deepEqual(signer.certificate.der, (await parsed(ca)).der);
  });

  it('finds an external CA when the key is elsewhere', async () => {
    assert.equal((await find({ leaf, file: [ca] })).kind, 'external');
  });

  it('finds an external CA when the leaf is below an intermediate CA in its own file', async () => {
    const top = root(1);
    const intermediate = below(top);
    const scene = { leaf: leafOf(intermediate), file: [top], key: top };
    const found = await find({ ...scene, chain: [intermediate] });
    assert.deepEqual([found.kind, found.certificate.openssl.subject], ['external', 'CN=root']);
    await assert.rejects(find(scene), { code: 'CERT_UNTRUSTED' });
  });

  it('refuses a leaf of another CA and names both', async () => {
    const stranger = authorityOf({ subject: '/O=Example/CN=stranger' });
    await assert.rejects(find({ leaf: leafOf(stranger), file: [ca], key: ca }), {
      code: 'CERT_UNTRUSTED',
      message:
        'apiserver.crt was signed by the CA O=Example, CN=stranger, not by a CA in ca.crt (CN=kubernetes)',
      remedy: /if the CA was replaced, issue .*: kubeadm certs renew apiserver;/,
    });
  });

  it('refuses a leaf of a CA with the same name and another key', async () => {
    await assert.rejects(find({ leaf, file: [other], key: other }), {
      code: 'CERT_UNTRUSTED',
      message: /^apiserver.crt was signed by another CA with the name CN=kubernetes: the key of /,
    });
  });

  it('refuses the key of another CA in the same file', async () => {
    const { serial } = (await parsed(other)).facts;
    await assert.rejects(find({ leaf, file: [other, ca], key: other }), {
      code: 'CERT_KEY_MISMATCH',
      message: new RegExp(`^ca.key belongs to the CA CN=kubernetes with serial ${serial}, but`),
    });
  });

  it('refuses a key that belongs to no CA of the file', async () => {
    await assert.rejects(find({ leaf, file: [ca], key: other }), {
      code: 'CERT_KEY_MISMATCH',
      message: /^ca.key belongs to no certificate in ca.crt, but/,
    });
  });

  it('refuses an expired CA, and one that is not valid yet', async () => {
    const scene = { leaf, file: [ca], key: ca };
    const later = Date.now() + 4000 * day;
    await assert.rejects(find({ ...scene, now: later }), { code: 'CERT_EXPIRED' });
    const earlier = Date.now() - day;
    await assert.rejects(find({ ...scene, now: earlier }), { code: 'CERT_NOT_YET_VALID' });
  });

  it('prefers the renewed certificate of the same CA key', async () => {
    const renewed = authorityOf({ days: 10, keyPem: ca.key });
    const signer = await find({ leaf, file: [renewed, ca], key: ca, now: Date.now() + 20 * day });
    assert.deepEqual(signer.certificate.der, (await parsed(ca)).der);
  });

  it('refuses an issuer that is no CA', async () => {
    const noCa = authorityOf({ extensions: ['basicConstraints=CA:FALSE'] });
    await assert.rejects(find({ leaf: leafOf(noCa), file: [noCa], key: noCa }), {
      code: 'CERT_UNTRUSTED',
      message: 'ca.crt is not a CA (no basic constraint CA:TRUE)',
    });
  });

  it('refuses a CA whose key usage does not allow signing', async () => {
    const noSign = authorityOf({
      extensions: ['basicConstraints=CA:TRUE', 'keyUsage=critical,digitalSignature'],
    });
    await assert.rejects(find({ leaf: leafOf(noSign), file: [noSign], key: noSign }), {
      code: 'CERT_UNTRUSTED',
      message: 'ca.crt may not sign certificates (its key usage lacks cert sign)',
    });
  });

  it('accepts a CA with path length 0 that signs leaves itself', async () => {
    const zero = root(0);
    assert.equal((await find({ leaf: leafOf(zero), file: [zero], key: zero })).kind, 'local');
  });

  for (const place of ['file', 'chain'] as const) {
    it(`refuses an intermediate CA below path length 0, found in the ${place}`, async () => {
      const zero = root(0);
      const intermediate = below(zero);
      const found = place === 'file' ? [intermediate, zero] : [intermediate];
      const scene = { leaf: leafOf(intermediate), file: found, key: intermediate };
      await assert.rejects(find({ ...scene, chain: place === 'chain' ? [zero] : [] }), {
        code: 'CERT_UNTRUSTED',
        message: 'the CA CN=root allows 0 intermediate CAs below it, and ca.crt has 1',
      });
    });
  }

  it('accepts an intermediate CA below path length 1', async () => {
    const one = root(1);
    const intermediate = below(one);
    const scene = { leaf: leafOf(intermediate), file: [intermediate, one], key: intermediate };
    assert.equal((await find(scene)).kind, 'local');
  });
});
