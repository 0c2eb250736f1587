import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, it } from 'node:test';
import { isSignedBy, readAuthorities, readAuthority } from '../../src/kube/authorities.ts';
import { derOf, selfSigned } from '../core/openssl.ts';
import { pinOf } from '../discovery/support/test-cluster.ts';
import { makeAuthority } from './support/certificates.ts';
import { makeTestAuthority, renewed } from '../trust/node/authority.ts';

describe('readAuthority()', () => {
  it('returns what OpenSSL reads', () => {
    const { pem, authority } = makeTestAuthority();
    const openssl = new X509Certificate(pem);
    assert.deepEqual(authority, {
      der: new Uint8Array(openssl.raw),
      fingerprint: openssl.fingerprint256.replaceAll(':', '').toLowerCase(),
      pin: pinOf(pem),
      subject: 'CN=kubernetes',
      subjectName: authority.subjectName,
      subjectKeyId: authority.subjectKeyId,
      isSelfSigned: true,
      notBefore: openssl.validFromDate.getTime(),
      notAfter: openssl.validToDate.getTime(),
    });
    assert.equal(authority.subjectKeyId?.length, 40);
    assert.match(Buffer.from(authority.subjectName).toString('latin1'), /kubernetes$/);
  });

  it('has no key identifier without the extension', () => {
    const { authority } = makeTestAuthority({
      extensions: ['basicConstraints=CA:TRUE', 'subjectKeyIdentifier=none'],
    });
    assert.equal(authority.subjectKeyId, undefined);
  });

  it('keeps the pin when a CA is renewed with its key', () => {
    const before = makeTestAuthority();
    const after = renewed(before).authority;
    assert.equal(after.pin, before.authority.pin);
    assert.notEqual(after.fingerprint, before.authority.fingerprint);
  });

  it('knows that a bridge between two CAs of one name is not self-signed', async () => {
    const [before, after] = [await makeAuthority('kubernetes'), await makeAuthority('kubernetes')];
    const bridge = await before.certifyAuthority(after);
    const [own, other] = [after.pem, bridge].map((pem) => readAuthority(derOf(Buffer.from(pem))));
    assert.equal(own?.isSelfSigned, true);
    assert.equal(other?.isSelfSigned, false);
    assert.equal(other?.pin, own?.pin);
  });

  const malformed: Readonly<Record<string, () => Uint8Array<ArrayBuffer>>> = {
    'no certificate': () => Uint8Array.of(0x30, 0x03, 0x02, 0x01, 0x01),
    'no bytes': () => new Uint8Array(),
    'a truncated certificate': () => makeTestAuthority().authority.der.slice(0, -1),
  };
  it('accepts an encoding that only OpenSSL accepts', () => {
    const { der } = makeTestAuthority().authority;
    const trailing = new Uint8Array([...der, 0x05, 0x00]);
    assert.deepEqual(readAuthority(trailing).der, trailing);
    const options = ['-set_serial', '-5'];
    assert.ok(readAuthority(derOf(selfSigned({ subject: '/CN=ca', options }).certificate)));
  });

  for (const [what, make] of Object.entries(malformed)) {
    it(`rejects ${what}`, () => {
      assert.throws(() => readAuthority(make()), { code: 'CERT_MALFORMED' });
    });
  }
});

describe('readAuthorities()', () => {
  it('returns every certificate, even an expired one and one that is not a CA', async () => {
    const expired = await makeAuthority('kubernetes', { notAfter: Date.now() - 1_000 });
    const leaf = makeTestAuthority({ extensions: ['basicConstraints=CA:FALSE'] });
    const { authorities, problems } = readAuthorities(Buffer.from(expired.pem + leaf.pem));
    assert.deepEqual(authorities, [readAuthority(derOf(Buffer.from(expired.pem))), leaf.authority]);
    assert.deepEqual(problems, []);
  });

  it('leaves out what cannot be parsed, and says why', () => {
    const { pem, authority } = makeTestAuthority();
    const damaged = '-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n';
    const { authorities, problems } = readAuthorities(
      Buffer.from(damaged + pem + pem.slice(0, 200)),
    );
    assert.deepEqual(authorities, [authority]);
    assert.deepEqual(problems, [
      'the PEM block CERTIFICATE has no END line',
      'the certificate cannot be parsed',
    ]);
  });
});

describe('isSignedBy()', () => {
  it('compares keys, not names', () => {
    const [one, other] = [makeTestAuthority(), makeTestAuthority()];
    const certificate = new X509Certificate(one.pem);
    assert.equal(isSignedBy(certificate, certificate), true);
    assert.equal(isSignedBy(certificate, one.authority), true);
    assert.equal(isSignedBy(certificate, renewed(one).authority), true);
    assert.equal(isSignedBy(certificate, other.authority), false);
  });
});
