import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readParts, writeSigned, writeToBeSigned } from '../../../src/core/certificate-parts.ts';
import { derTags, writeDer } from '../../../src/core/der.ts';
import { day } from '../../../src/core/instant.ts';
import { parsePem } from '../../../src/core/pem.ts';
import { openSslCertificate } from '../../../src/pki/inventory/openssl-certificate.ts';
import { usualCertificate } from '../../../src/pki/inventory/usual-certificate.ts';
import type { TestKeyKind } from '../renewal/openssl-authority.ts';
import { caExtensions, issueWithOpenssl, leafExtensions } from '../renewal/openssl-authority.ts';
import { makeCa, makeLeaf } from '../kubeadm-tree.ts';

const year = { notBefore: Date.UTC(2026, 0, 2, 3, 4, 5), notAfter: Date.UTC(2027, 0, 1) };
const ca = await makeCa('kubernetes', year);
const kubeadm = derOf(
  (
    await makeLeaf(ca, {
      ...year,
      subject: 'CN=kube-apiserver-kubelet-client,O=kubeadm:cluster-admins',
      usages: ['client auth'],
      altNames: [{ type: 'dns', value: 'node' }],
    })
  ).pem,
);

function derOf(pem: string | Uint8Array): Uint8Array {
  const [block] = parsePem(Buffer.from(pem));
  assert.ok(block);
  return block.der;
}

const algorithm = writeDer(derTags.sequence, Buffer.from('06082a8648ce3d040302', 'hex'));

type Change = Partial<Parameters<typeof writeToBeSigned>[0]>;

/** kubeadm's certificate with other fields. The signature does not fit, which neither reader checks. */
function changed(change: Change): Uint8Array {
  const parts = readParts(kubeadm);
  const extensions = parts.extensions.map(({ encoded }) => encoded);
  const toBeSigned = writeToBeSigned({ ...parts, ...year, algorithm, extensions, ...change });
  return writeSigned(toBeSigned, { algorithm, signature: new Uint8Array(70) });
}

/** A name with one attribute. */
function name(oid: string, tag: number, value: string | Uint8Array): Uint8Array {
  const type = writeDer(0x06, Buffer.from(oid, 'hex'));
  const attribute = writeDer(derTags.sequence, type, writeDer(tag, Buffer.from(value)));
  return writeDer(derTags.sequence, writeDer(0x31, attribute));
}

function assertSame(der: Uint8Array): void {
  const { der: _, sha256: __, ...theirs } = openSslCertificate(der) ?? {};
  assert.deepEqual({ ...usualCertificate(der), isAuthority: false }, theirs);
}

const kinds: readonly TestKeyKind[] = ['P-256', 'P-384', 'P-521', 'RSA 2048', 'Ed25519'];

describe('usualCertificate()', () => {
  for (const key of kinds) {
    it(`reads a certificate of ${key} as OpenSSL does`, () => {
      const pair = { subject: '/C=DE/ST=Bavaria/L=Munich/O=a b/OU=c/CN=d', key };
      assertSame(derOf(issueWithOpenssl({ ...pair, extensions: leafExtensions }).certificate));
    });
  }

  const usual: Readonly<Record<string, Change>> = {
    'an empty subject': { subject: writeDer(derTags.sequence) },
    'the serial number 0': { serial: Uint8Array.of(0) },
    'a serial number with a leading zero': { serial: Uint8Array.of(0, 0x80, 1) },
    'a small serial number': { serial: Uint8Array.of(0x0f) },
    'times after 2050': { notAfter: Date.UTC(2051, 1, 28) },
    'the last time of X.509': { notAfter: Date.UTC(9999, 11, 31, 23, 59, 59) },
    'times before 1970': { notBefore: Date.UTC(1950, 0, 1) },
    'the end before the start': { notAfter: year.notBefore - day },
    'the end on February 29': { notAfter: Date.UTC(2028, 1, 29) },
    'no extensions': { extensions: [] },
    'a name that has to be shortened elsewhere': {
      subject: name('550403', 0x0c, 'a'.repeat(997)),
    },
  };
  for (const [what, change] of Object.entries(usual)) {
    it(`reads ${what} as OpenSSL does`, () => assertSame(changed(change)));
  }

  const basicConstraints = '0603551d13';
  const others: Readonly<Record<string, Change>> = {
    'a negative serial number': { serial: Uint8Array.of(0x80) },
    'a serial number with needless zeros': { serial: Uint8Array.of(0, 1) },
    'an empty serial number': { serial: new Uint8Array() },
    'a BMPString': { subject: name('550403', 0x1e, Uint8Array.of(0, 0x61)) },
    'a name with a comma': { subject: name('550403', 0x0c, 'a,b') },
    'a name with a line break': { subject: name('550403', 0x0c, 'a\nO=b') },
    'a name that begins with a space': { subject: name('550403', 0x0c, ' a') },
    'a name with two spaces': { subject: name('550403', 0x0c, 'a  b') },
    'a name with an umlaut': { subject: name('550403', 0x0c, 'ä') },
    'an empty attribute': { subject: name('550403', 0x0c, '') },
    'an e-mail address': { subject: name('2a864886f70d010901', 0x16, 'a@b') },
    'a name longer than OpenSSL shows': { subject: name('550403', 0x0c, 'a'.repeat(998)) },
    'an unknown algorithm': { algorithm: writeDer(derTags.sequence, Uint8Array.of(6, 1, 0x2a)) },
    'CA:FALSE in full': {
      extensions: [Buffer.from(`300c${basicConstraints}04053003010100`, 'hex')],
    },
  };
  for (const [what, change] of Object.entries(others)) {
    it(`leaves ${what} to OpenSSL`, () => {
      assert.equal(usualCertificate(changed(change)), undefined);
    });
  }

  it('leaves a CA to OpenSSL', () => {
    assert.equal(usualCertificate(derOf(ca.pem)), undefined);
    const root = issueWithOpenssl({ subject: '/CN=root', extensions: caExtensions });
    assert.equal(usualCertificate(derOf(root.certificate)), undefined);
  });

  it('leaves bytes after the certificate to OpenSSL', () => {
    assert.equal(usualCertificate(Buffer.concat([kubeadm, Buffer.of(0x30, 0)])), undefined);
  });

  it('reads any other byte at any place as OpenSSL does, or leaves it to OpenSSL', () => {
    const der = kubeadm.slice();
    for (const [at, byte] of kubeadm.entries()) {
      for (const other of [byte ^ 0x01, byte ^ 0x80, byte + 1, 0x00, 0xff]) {
        der[at] = other;
        if (usualCertificate(der) !== undefined) assertSame(der);
      }
      der[at] = byte;
    }
  });
});
