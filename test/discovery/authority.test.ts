import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, it } from 'node:test';
import { parsePem } from '../../src/core/pem.ts';
import {
  describeAuthorities,
  describeAuthority,
  discoveredAuthority,
} from '../../src/discovery/authority.ts';
import { selfSigned } from '../core/openssl.ts';
import { makeAuthority } from '../kube/support/certificates.ts';
import { pinOf } from './support/test-cluster.ts';

function derOf(pem: string | Buffer): Uint8Array<ArrayBuffer> {
  const [block] = parsePem(Buffer.from(pem));
  assert.ok(block);
  return block.der;
}

const leaf = (usage: string): Buffer =>
  selfSigned({
    subject: '/CN=leaf',
    extensions: ['basicConstraints=critical,CA:FALSE', `keyUsage=${usage}`],
  }).certificate;

describe('discoveredAuthority()', () => {
  it('returns subject, end, pin and fingerprint of a CA', async () => {
    const notAfter = Date.UTC(2036, 10, 26, 10);
    const { pem } = await makeAuthority('kubernetes', { notAfter });
    const openssl = new X509Certificate(pem);
    const authority = discoveredAuthority(derOf(pem), [pinOf(pem)]);
    assert.deepEqual(authority, {
      der: derOf(pem),
      subject: 'CN=kubernetes',
      notAfter,
      pin: pinOf(pem),
      fingerprint: openssl.fingerprint256.replaceAll(':', '').toLowerCase(),
      isPinned: true,
    });
  });

  for (const key of [
    ['-algorithm', 'RSA'],
    ['-algorithm', 'ED25519'],
    ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  ]) {
    it(`computes the pin of a key with ${key.join(' ')}`, () => {
      const { certificate } = selfSigned({ subject: '/CN=kubernetes', key });
      const authority = discoveredAuthority(derOf(certificate), []);
      assert.equal(authority?.pin, pinOf(certificate.toString()));
      assert.equal(authority?.isPinned, false);
    });
  }

  it('makes a subject printable', () => {
    const { certificate } = selfSigned({ subject: '/O=a\u001b[31mb/CN=kubernetes' });
    const subject = discoveredAuthority(derOf(certificate), [])?.subject ?? '';
    assert.doesNotMatch(subject, /\p{C}/u);
    assert.match(subject, /CN=kubernetes$/);
  });

  const useless: Readonly<Record<string, () => Uint8Array<ArrayBuffer>>> = {
    'the certificate of a server': () => derOf(leaf('digitalSignature')),
    'a CA that may not sign certificates': () =>
      derOf(
        selfSigned({
          subject: '/CN=ca',
          extensions: ['basicConstraints=critical,CA:TRUE', 'keyUsage=digitalSignature'],
        }).certificate,
      ),
    'bytes after the certificate': () => {
      const der = derOf(selfSigned({ subject: '/CN=ca' }).certificate);
      return new Uint8Array([...der, 0x05, 0x00]);
    },
    'bytes that are no certificate': () => new Uint8Array([0x30, 0x03, 0x02, 0x01, 0x01]),
  };
  for (const [what, make] of Object.entries(useless)) {
    it(`returns undefined for ${what}`, () => {
      assert.equal(discoveredAuthority(make(), []), undefined);
    });
  }
});

describe('describeAuthority()', () => {
  it('contains pin, subject and end', async () => {
    const { pem } = await makeAuthority('kubernetes', { notAfter: Date.UTC(2036, 10, 26, 10) });
    const authority = discoveredAuthority(derOf(pem), []);
    assert.ok(authority);
    assert.equal(
      describeAuthority(authority),
      `${pinOf(pem)} (CN=kubernetes, until 2036-11-26T10:00:00Z)`,
    );
  });
});

describe('describeAuthorities()', () => {
  it('names the first five and counts the others', async () => {
    const { pem } = await makeAuthority('kubernetes');
    const authority = discoveredAuthority(derOf(pem), []);
    assert.ok(authority);
    const text = describeAuthority(authority);
    assert.equal(describeAuthorities([authority, authority]), `${text}, ${text}`);
    const many = describeAuthorities(Array.from({ length: 1_000 }, () => authority));
    assert.equal(many, `${Array.from({ length: 5 }, () => text).join(', ')}, and 995 more`);
  });
});
