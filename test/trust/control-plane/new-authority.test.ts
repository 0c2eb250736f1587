import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { basicConstraints, subjectKeyIdentifier } from '../../../src/core/certificate-parts.ts';
import { day, minute, second } from '../../../src/core/instant.ts';
import { encodeCertificates } from '../../../src/core/pem.ts';
import { readAuthority } from '../../../src/kube/authorities.ts';
import type { ChainCertificate } from '../../../src/pki/renewal/certificate-chain.ts';
import { subjectOf } from '../../../src/pki/renewal/certificate-chain.ts';
import { describeKind, kindOf } from '../../../src/pki/renewal/key-file.ts';
import type { AuthorityPair } from '../../../src/trust/control-plane/new-authority.ts';
import {
  bridgeObstacle,
  createAuthority,
  createBridge,
  isBridge,
} from '../../../src/trust/control-plane/new-authority.ts';
import { requireSoundAuthority } from '../../../src/trust/node/authority-check.ts';
import { exportKey } from '../../../src/pki/renewal/key-file.ts';
import { openssl } from '../../core/openssl.ts';
import type { OpensslRequest, TestKeyKind } from '../../pki/renewal/openssl-authority.ts';
import {
  authorityOf,
  caExtensions,
  issueWithOpenssl,
  leafExtensions,
  parsed,
} from '../../pki/renewal/openssl-authority.ts';
import { temporaryDirectory } from '../../store/pairs.ts';

const now = Math.floor(Date.now() / second) * second;

async function oldCa(request: Partial<OpensslRequest> = {}): Promise<AuthorityPair> {
  const pair = authorityOf(request);
  return { certificate: await parsed(pair), key: createPrivateKey(pair.key) };
}

interface NewOptions {
  readonly commonName?: string;
  readonly lifetimeMs?: number;
}

async function newCa(
  old: AuthorityPair,
  { commonName = 'kubernetes 2026-11', lifetimeMs = 3650 * day }: NewOptions = {},
): Promise<AuthorityPair> {
  const { certificate } = old;
  return createAuthority({
    commonName,
    key: kindOf(old.key),
    lifetimeMs,
    old: certificate,
    now,
  });
}

/** A leaf by the new CA, as openssl issues it. */
function leafBy(
  { certificate, key }: AuthorityPair,
  extensions: readonly string[] = leafExtensions,
): Buffer {
  using pem = exportKey(key);
  const signer = { certificate: pemOf(certificate), key: Buffer.from(pem.expose()) };
  const subject = '/CN=kube-apiserver';
  return issueWithOpenssl({ subject, extensions, signer }).certificate;
}

function pemOf(...certificates: readonly ChainCertificate[]): Buffer {
  return Buffer.from(encodeCertificates(certificates));
}

interface Chain {
  readonly isStrict?: boolean;
  readonly trusted: Buffer;
  readonly untrusted?: Buffer;
  readonly leaf: Buffer;
}

/** @throws unless openssl accepts the chain, in strict mode by default */
async function verify(context: TestContext, chain: Chain): Promise<void> {
  const directory = await temporaryDirectory(context);
  const written = async (name: string, content: Buffer): Promise<string> => {
    const path = join(directory, name);
    await writeFile(path, content);
    return path;
  };
  const { untrusted } = chain;
  const between =
    untrusted === undefined ? [] : ['-untrusted', await written('untrusted', untrusted)];
  const trusted = ['-CAfile', await written('trusted', chain.trusted), '-no-CApath'];
  const leaf = await written('leaf', chain.leaf);
  const strict = chain.isStrict === false ? [] : ['-x509_strict'];
  openssl(['verify', ...strict, '-purpose', 'sslserver', ...trusted, ...between, leaf]);
}

const kinds: readonly TestKeyKind[] = ['RSA 2048', 'RSA 4096', 'P-256', 'P-384', 'P-521'];

describe('createAuthority()', () => {
  for (const key of kinds) {
    it(`makes a CA with a key like the ${key} key of the old CA`, async (context) => {
      const old = await oldCa({ key });
      const created = await newCa(old);
      assert.equal(describeKind(kindOf(created.key)), describeKind(kindOf(old.key)));
      assert.equal(created.certificate.openssl.checkPrivateKey(old.key), false);
      await verify(context, { trusted: pemOf(created.certificate), leaf: leafBy(created) });
      const authority = readAuthority(created.certificate.der);
      requireSoundAuthority(authority, { bundle: [authority], now });
    });
  }

  it('has the extensions of the CAs of kubeadm, and the alternative names of the old CA', async () => {
    const extensions = [...caExtensions, 'subjectAltName=DNS:kubernetes'];
    const { certificate } = await newCa(await oldCa({ extensions }));
    assert.equal(subjectOf(certificate), 'CN=kubernetes 2026-11');
    assert.deepEqual(certificate.facts.usages, [
      'digital signature',
      'key encipherment',
      'cert sign',
    ]);
    assert.deepEqual(certificate.facts.dnsNames, ['kubernetes']);
    assert.deepEqual(basicConstraints(certificate.parts), { isCa: true });
    assert.equal(subjectKeyIdentifier(certificate.parts)?.length, 20);
  });

  it('begins five minutes ago, but later than the old CA, and lasts for its lifetime', async () => {
    const recent = await oldCa();
    const { certificate } = await newCa(recent, { lifetimeMs: 365 * day });
    assert.equal(
      certificate.facts.notBefore,
      Math.min(recent.certificate.facts.notBefore + second, now),
    );
    assert.equal(certificate.facts.notAfter, now + 365 * day);
    const facts = { ...recent.certificate.facts, notBefore: now - 30 * day };
    const older = { ...recent, certificate: { ...recent.certificate, facts } };
    assert.equal((await newCa(older)).certificate.facts.notBefore, now - 5 * minute);
  });

  it('has a name with other letters than ASCII', async () => {
    const { certificate } = await newCa(await oldCa(), { commonName: 'Zürich 2026' });
    assert.equal(certificate.openssl.subject, 'CN=Zürich 2026');
  });
});

describe('createBridge()', () => {
  for (const key of kinds) {
    it(`connects a client that trusts only an old CA with a ${key} key`, async (context) => {
      const old = await oldCa({ key });
      const created = await newCa(old);
      const bridge = await createBridge(created.certificate, { old, now });
      const leaf = leafBy(created);
      const trusted = pemOf(old.certificate);
      await verify(context, { trusted, untrusted: pemOf(bridge), leaf });
      await assert.rejects(verify(context, { trusted, leaf }));
    });
  }

  it('connects a client if both CAs have one subject and a key identifier', async (context) => {
    const old = await oldCa();
    const created = await newCa(old, { commonName: 'kubernetes' });
    const bridge = await createBridge(created.certificate, { old, now });
    const untrusted = pemOf(bridge);
    await verify(context, { trusted: pemOf(old.certificate), untrusted, leaf: leafBy(created) });
  });

  it('ends with the CA that ends first', async () => {
    const old = await oldCa({ days: 100 });
    const long = await newCa(old);
    const bridge = await createBridge(long.certificate, { old, now });
    assert.equal(bridge.facts.notAfter, old.certificate.facts.notAfter);
    const short = await newCa(old, { lifetimeMs: 10 * day });
    const brief = await createBridge(short.certificate, { old, now });
    assert.equal(brief.facts.notAfter, now + 10 * day);
  });

  it('keeps a key identifier of another form, and adds one that is missing', async (context) => {
    const old = await oldCa();
    const identifier = 'subjectKeyIdentifier=01:02:03:04';
    const withoutIdentifier = leafExtensions.map((one) =>
      one.startsWith('authority') ? 'authorityKeyIdentifier=none' : one,
    );
    for (const last of [identifier, 'subjectKeyIdentifier=none']) {
      const extensions = [...caExtensions.slice(0, 2), last];
      const other = await oldCa({ subject: '/CN=imported', extensions });
      const bridge = await createBridge(other.certificate, { old, now });
      const trusted = pemOf(old.certificate);
      const isNamed = last === identifier;
      // Without the identifier in the CA, openssl cannot put it into the leaf.
      const leaf = leafBy(other, isNamed ? leafExtensions : withoutIdentifier);
      await verify(context, { trusted, untrusted: pemOf(bridge), leaf, isStrict: isNamed });
    }
  });
});

describe('isBridge()', () => {
  it('is false for the new CA itself, and for bridges between other CAs', async () => {
    const [old, stranger] = [await oldCa(), await oldCa()];
    const [created, second] = [await newCa(old), await newCa(old)];
    const pair = { next: created.certificate, old: old.certificate };
    assert.ok(isBridge(await createBridge(created.certificate, { old, now }), pair));
    assert.ok(!isBridge(created.certificate, pair));
    assert.ok(!isBridge(await createBridge(second.certificate, { old, now }), pair));
    const other = await createBridge(created.certificate, { old: stranger, now });
    assert.ok(!isBridge(other, pair));
  });
});

describe('bridgeObstacle()', () => {
  it('names a path length of 0, and the end of an expired CA', async () => {
    const [, ...others] = caExtensions;
    const extensions = ['basicConstraints=critical,CA:TRUE,pathlen:0', ...others];
    const { certificate } = await oldCa({ extensions });
    assert.equal(
      bridgeObstacle(certificate, now),
      'the old CA allows no CA below it (path length 0)',
    );
    const old = await oldCa({ days: 1 });
    assert.equal(bridgeObstacle(old.certificate, now), undefined);
    assert.match(bridgeObstacle(old.certificate, now + 2 * day) ?? '', /^the old CA expired at /);
  });

  it('allows a bridge below a CA with a path length of 1', async (context) => {
    const [, ...others] = caExtensions;
    const extensions = ['basicConstraints=critical,CA:TRUE,pathlen:1', ...others];
    const old = await oldCa({ extensions });
    assert.equal(bridgeObstacle(old.certificate, now), undefined);
    const created = await newCa(old);
    const bridge = await createBridge(created.certificate, { old, now });
    const trusted = pemOf(old.certificate);
    await verify(context, { trusted, untrusted: pemOf(bridge), leaf: leafBy(created) });
  });
});
