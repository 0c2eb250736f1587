import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { describe, it } from 'node:test';
import {
  extensionIds,
  writeExtension,
  writeToBeSigned,
} from '../../../src/core/certificate-parts.ts';
import { day, formatInstant } from '../../../src/core/instant.ts';
import type { TrustRefusal } from '../../../src/core/trust.ts';
import { signatureAlgorithm, signDer } from '../../../src/pki/renewal/signature.ts';
import { readAuthority } from '../../../src/kube/authorities.ts';
import type { BundleCheck } from '../../../src/trust/node/bundle-check.ts';
import { checkBundle } from '../../../src/trust/node/bundle-check.ts';
import { derOf, selfSigned } from '../../core/openssl.ts';
import { makeAuthority } from '../../kube/support/certificates.ts';
import { caExtensions } from '../../pki/renewal/openssl-authority.ts';
import { makeTestAuthority, renewed } from './authority.ts';

const held = makeTestAuthority();
const next = makeTestAuthority();
const source = { kind: 'file', name: '/etc/nodecertd/ca.crt' } as const;

function check(text: string, changes: Partial<BundleCheck> = {}): ReturnType<typeof checkBundle> {
  return checkBundle(Buffer.from(text), {
    source,
    held: [held.authority],
    pins: [],
    now: Date.now(),
    ...changes,
  });
}

function refusalOf(
  text: string,
  changes: Partial<BundleCheck> = {},
): Extract<ReturnType<typeof checkBundle>, { kind: 'refused' }>['refusal'] {
  const verdict = check(text, changes);
  assert.equal(verdict.kind, 'refused');
  return verdict.refusal;
}

const rsa = ['-algorithm', 'RSA'];
const pss = ['-sigopt', 'rsa_padding_mode:pss'];

function signedWith(options: readonly string[], key?: readonly string[]): string {
  const request = { subject: '/CN=kubernetes', options, ...(key !== undefined && { key }) };
  return selfSigned(request).certificate.toString();
}

const caExtension = writeExtension(
  extensionIds.basicConstraints,
  Uint8Array.of(0x30, 3, 1, 1, 0xff),
);
const longExtension = Uint8Array.of(0x30, 0x81, caExtension.length - 2, ...caExtension.subarray(2));

/** A self-signed CA with these extensions, byte for byte. */
function handMade(...extensions: readonly Uint8Array[]): Uint8Array {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const { subjectName, notBefore, notAfter } = held.authority;
  const toBeSigned = writeToBeSigned({
    serial: Uint8Array.of(1),
    algorithm: signatureAlgorithm(privateKey),
    issuer: subjectName,
    notBefore,
    notAfter,
    subject: subjectName,
    publicKey: publicKey.export({ format: 'der', type: 'spki' }),
    extensions,
  });
  return signDer(toBeSigned, privateKey);
}

async function expired(): Promise<string> {
  return (await makeAuthority('kubernetes', { notAfter: Date.now() - 1_000 })).pem;
}

describe('checkBundle()', () => {
  const accepted: Readonly<Record<string, () => readonly { readonly pem: string }[]>> = {
    'the held CA and a new one': () => [held, next],
    'a CA that was renewed with its key': () => [renewed(held)],
    'a CA of RSA 2048': () => [makeTestAuthority({ key: 'RSA 2048' })],
    'a CA of P-384': () => [makeTestAuthority({ key: 'P-384' })],
    'a CA of P-521': () => [makeTestAuthority({ key: 'P-521' })],
    'a CA of Ed25519': () => [makeTestAuthority({ key: 'Ed25519' })],
    'a CA without key usage': () => [
      makeTestAuthority({ extensions: ['basicConstraints=critical,CA:TRUE'] }),
    ],
    'a CA that is signed with RSASSA-PSS and SHA-256': () => [{ pem: signedWith(pss, rsa) }],
    'a CA that is made by hand': () => [{ pem: pemOf(handMade(caExtension)) }],
    'an intermediate CA with its root': () => [
      makeTestAuthority({ subject: '/CN=intermediate', signer: next }),
      next,
    ],
  };
  for (const [what, make] of Object.entries(accepted)) {
    it(`accepts ${what}`, () => {
      const verdict = check(
        make()
          .map(({ pem }) => pem)
          .join(''),
      );
      assert.equal(verdict.kind, 'accepted', JSON.stringify(verdict));
      assert.equal(verdict.authorities.length, make().length);
    });
  }

  it('accepts a bridge beside both CAs', async () => {
    const [before, after] = [await makeAuthority('kubernetes'), await makeAuthority('kubernetes')];
    const bridge = await before.certifyAuthority(after);
    assert.equal(check(before.pem + after.pem + bridge).kind, 'accepted');
  });

  it('accepts text between the certificates', () => {
    const text = `# CA of the cluster\n${held.pem}\nsubject=CN = kubernetes\n${next.pem}\n\n`;
    assert.deepEqual(check(text), {
      kind: 'accepted',
      authorities: [held.authority, next.authority],
    });
  });

  const refused: readonly (readonly [
    what: string,
    reason: TrustRefusal,
    text: () => string | Promise<string>,
  ])[] = [
    ['a truncated second certificate', 'malformed', () => held.pem + next.pem.slice(0, 300)],
    ['a truncated BEGIN line', 'malformed', () => `${held.pem}-----BEGIN CERT`],
    ['a dash at the end', 'malformed', () => `${held.pem}-`],
    ['a BEGIN line with a blank before it', 'malformed', () => `${held.pem} ${next.pem}`],
    ['NUL bytes', 'malformed', () => `${held.pem}\0\0\0${next.pem}`],
    ['nothing', 'malformed', () => ''],
    ['garbage', 'malformed', () => '<html>not found</html>'],
    ['a CRL', 'malformed', () => held.pem + held.pem.replaceAll('CERTIFICATE', 'X509 CRL')],
    [
      'a certificate with a missing byte',
      'malformed',
      () => held.pem + pemOf(next.authority.der.slice(0, -1)),
    ],
    [
      'bytes after the certificate',
      'malformed',
      () => pemOf(new Uint8Array([...next.authority.der, 0x05, 0x00])),
    ],
    ['a negative serial number', 'malformed', () => signedWith(['-set_serial', '-5'])],
    [
      'an extension that occurs twice',
      'malformed',
      () => pemOf(handMade(caExtension, caExtension)),
    ],
    ['a length that is not minimal', 'malformed', () => pemOf(handMade(longExtension))],
    ['a private key', 'private-key', () => held.pem + held.key.toString()],
    [
      'a leaf',
      'not-a-ca',
      () => makeTestAuthority({ extensions: ['keyUsage=digitalSignature'], signer: held }).pem,
    ],
    [
      'CA:FALSE',
      'not-a-ca',
      () => makeTestAuthority({ extensions: ['basicConstraints=CA:FALSE'] }).pem,
    ],
    [
      'a key usage without cert sign',
      'not-a-ca',
      () =>
        makeTestAuthority({ extensions: ['basicConstraints=CA:TRUE', 'keyUsage=digitalSignature'] })
          .pem,
    ],
    ['an expired CA', 'expired', expired],
    ['RSA with 1024 bits', 'weak-key', () => makeTestAuthority({ key: 'RSA 1024' }).pem],
    ['an RSASSA-PSS key', 'weak-key', () => makeTestAuthority({ key: 'RSA-PSS' }).pem],
    [
      'a curve that Go does not know',
      'weak-key',
      () => signedWith([], ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:secp256k1']),
    ],
    ['SHA-1', 'weak-signature', () => signedWith(['-sha1'])],
    ['RSASSA-PSS with SHA-1', 'weak-signature', () => signedWith(['-sha1', ...pss], rsa)],
    [
      'an intermediate CA without its root',
      'not-self-signed',
      () => makeTestAuthority({ subject: '/CN=intermediate', signer: next }).pem,
    ],
    [
      'an intermediate CA with another CA of the name of its root',
      'not-self-signed',
      () => held.pem + makeTestAuthority({ subject: '/CN=intermediate', signer: next }).pem,
    ],
    ['17 certificates', 'too-many', () => held.pem.repeat(17)],
    ['300 KiB', 'too-large', () => held.pem.padEnd(300 * 1024, '\n')],
  ];
  for (const [what, reason, text] of refused) {
    it(`refuses ${what}`, async () => {
      const refusal = refusalOf(await text());
      assert.equal(refusal.reason, reason, refusal.message);
      assert.equal(refusal.code, 'TRUST_REFUSED');
      assert.match(
        refusal.message,
        /^this node does not trust the CAs in \/etc\/nodecertd\/ca\.crt: /,
      );
      assert.ok(refusal.remedy);
    });
  }

  it('names the certificate, and the value found', async () => {
    const pem = await expired();
    const { fingerprint, notAfter } = readAuthority(derOf(Buffer.from(pem)));
    const { message, remedy } = refusalOf(held.pem + pem);
    assert.equal(
      message,
      `this node does not trust the CAs in /etc/nodecertd/ca.crt: certificate 2 of 2 (CN=kubernetes, fingerprint ${fingerprint.slice(0, 16)}) expired at ${formatInstant(notAfter)}`,
    );
    assert.match(remedy ?? '', /^Remove the expired CA from \/etc\/nodecertd\/ca\.crt\./);
  });

  it('neither shows nor keeps a private key', () => {
    const bytes = Buffer.from(held.pem + held.key.toString());
    const verdict = checkBundle(bytes, { source, held: [], pins: [], now: Date.now() });
    assert.equal(verdict.kind, 'refused');
    assert.ok(bytes.every((byte) => byte === 0));
    const [, secret = ''] = held.key.toString().split('\n');
    assert.ok(!JSON.stringify(verdict).includes(secret));
  });

  it('does not check the certificate of a held CA again', () => {
    const weak = makeTestAuthority({ key: 'RSA 1024', extensions: caExtensions });
    const changes = { held: [weak.authority] };
    assert.equal(check(weak.pem + next.pem, changes).kind, 'accepted');
    const later = { held: [held.authority], now: held.authority.notAfter };
    const long = makeTestAuthority({ days: 36_500 });
    assert.equal(check(held.pem + long.pem, later).kind, 'accepted');
  });

  it('accepts a new CA only with its pin, if there are pins', () => {
    const other = makeTestAuthority();
    const pins = [next.authority.pin];
    assert.equal(check(held.pem + next.pem, { pins }).kind, 'accepted');
    const refusal = refusalOf(held.pem + next.pem + other.pem, { pins });
    assert.equal(refusal.reason, 'not-pinned');
    assert.match(
      refusal.message,
      new RegExp(`certificate 3 of 3 .* its pin ${other.authority.pin}`),
    );
  });

  it('needs no pin for a CA that was renewed with its key', () => {
    const pins = [next.authority.pin];
    assert.equal(check(renewed(held).pem, { pins }).kind, 'accepted');
  });

  it('limits the CAs that a node collects from changing sources', () => {
    const many = Array.from({ length: 15 }, () => makeTestAuthority().authority);
    assert.equal(check(next.pem, { held: many }).kind, 'accepted');
    const refusal = refusalOf(next.pem, { held: [...many, held.authority] });
    assert.equal(refusal.reason, 'too-many');
    assert.match(
      refusal.message,
      /together with the CAs of this node they are 17 CAs, more than 16$/,
    );
    // A node may have had more before.
    const more = [...many, held.authority, makeTestAuthority().authority];
    assert.equal(check(held.pem, { held: more }).kind, 'accepted');
  });

  it('refuses a CA only while the clock is wrong', () => {
    assert.equal(refusalOf(next.pem, { now: 0 }).reason, 'not-yet-valid');
    assert.equal(refusalOf(next.pem, { now: Date.now() + 7_300 * day }).reason, 'expired');
    assert.equal(check(next.pem).kind, 'accepted');
  });
});

function pemOf(der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}
