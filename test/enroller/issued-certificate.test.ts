import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { hour, minute } from '../../src/core/instant.ts';
import { encodePem, parsePem } from '../../src/core/pem.ts';
import { parseCertificate } from '../../src/core/x509.ts';
import { checkIssued } from '../../src/enroller/issued-certificate.ts';
import type { PrivateKey } from '../../src/enroller/private-key.ts';
import { generatePrivateKey } from '../../src/enroller/private-key.ts';
import { clientTemplate, servingTemplate } from '../core/fixtures.ts';
import type { Authority } from './fixtures.ts';
import { authority, issue } from './fixtures.ts';

describe('checkIssued()', () => {
  let ca: Authority;
  let key: PrivateKey;
  let other: PrivateKey;
  before(async () => {
    ca = await authority('ca');
    key = await generatePrivateKey('ecdsa-p256');
    other = await generatePrivateKey('ecdsa-p256');
  });

  const check = (pem: Uint8Array, template = clientTemplate): ReturnType<typeof checkIssued> =>
    checkIssued({ pem, template, publicKey: key.publicKey, now: Date.now() });

  it('accepts the requested certificate, alone or with an intermediate', async () => {
    const alone = await check(await issue(ca, key.publicKey));
    assert.deepEqual(alone.intermediates, []);
    const intermediate = await authority('intermediate', ca);
    const leaf = await issue(intermediate, key.publicKey);
    const chain = await check(Buffer.concat([leaf, Buffer.from('text\n'), intermediate.pem]));
    assert.equal(chain.intermediates.length, 1);
    assert.deepEqual(Buffer.from(chain.pem), Buffer.concat([leaf, intermediate.pem]));
  });

  const serving = (changes: Parameters<typeof issue>[2]): (() => Promise<Uint8Array>) => {
    return () => issue(ca, key.publicKey, { ...servingTemplate, ...changes });
  };
  const client = (changes: Parameters<typeof issue>[2]): (() => Promise<Uint8Array>) => {
    return () => issue(ca, key.publicKey, changes);
  };
  const { subject } = clientTemplate;
  const refused: readonly (readonly [
    string,
    string,
    () => Promise<Uint8Array>,
    typeof clientTemplate?,
  ])[] = [
    ['another key', 'CERT_KEY_MISMATCH', () => issue(ca, other.publicKey)],
    [
      'another name',
      'CERT_SUBJECT_MISMATCH',
      client({ subject: { ...subject, commonName: 'system:node:worker-10' } }),
    ],
    [
      'a missing organization',
      'CERT_SUBJECT_MISMATCH',
      client({ subject: { ...subject, organizations: [] } }),
    ],
    [
      'a further organization',
      'CERT_SUBJECT_MISMATCH',
      client({ subject: { ...subject, organizations: ['system:nodes', 'system:masters'] } }),
    ],
    ['a missing address', 'CERT_SAN_MISMATCH', serving({ ipAddresses: [] }), servingTemplate],
    [
      'a further name',
      'CERT_SAN_MISMATCH',
      serving({ dnsNames: ['worker-1', 'api'] }),
      servingTemplate,
    ],
    [
      'other usages',
      'CERT_USAGE_MISMATCH',
      client({ usages: ['digital signature', 'server auth'] }),
    ],
    [
      'a past validity',
      'CERT_EXPIRED',
      client({ notBefore: Date.now() - hour, notAfter: Date.now() - 1 }),
    ],
    ['a future validity', 'CERT_NOT_YET_VALID', client({ notBefore: Date.now() + hour })],
    ['no certificate', 'CERT_MALFORMED', async () => Buffer.from('hello')],
    [
      'a torn block',
      'CERT_MALFORMED',
      async () => (await issue(ca, key.publicKey)).subarray(0, 300),
    ],
    [
      'bytes that are no certificate',
      'CERT_MALFORMED',
      async () => Buffer.from('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'),
    ],
    [
      'a key',
      'CERT_MALFORMED',
      async () => Buffer.concat([await issue(ca, key.publicKey), other.exportPem().expose()]),
    ],
    [
      'two certificates that do not form a chain',
      'CERT_MALFORMED',
      async () => Buffer.concat([await issue(ca, key.publicKey), (await authority('ca')).pem]),
    ],
  ];
  for (const [what, code, make, template] of refused) {
    it(`rejects ${what} with ${code}`, async () => {
      const pem = await make();
      await assert.rejects(
        check(pem, template),
        (error: Error & { code?: string; remedy?: string }) => {
          assert.equal(error.code, code);
          const byTime = code === 'CERT_EXPIRED' || code === 'CERT_NOT_YET_VALID';
          assert.match(error.remedy ?? '', byTime ? /clocks of this node/ : /signer/);
          return true;
        },
      );
    });
  }

  it('rejects a certificate that OpenSSL cannot parse', async () => {
    const [block] = parsePem(await issue(ca, key.publicKey));
    assert.ok(block);
    // The issuer's CN becomes a BOOLEAN, which OpenSSL does not accept as a name.
    const commonName = Buffer.from(block.der).indexOf(Uint8Array.of(0x55, 0x04, 0x03));
    block.der[commonName + 3] = 0x01;
    await parseCertificate(block.der);
    await assert.rejects(check(encodePem('CERTIFICATE', block.der)), {
      code: 'CERT_MALFORMED',
      message: 'the issued certificate cannot be parsed',
    });
  });

  it('returns the delay until a certificate becomes valid', async () => {
    const pem = await issue(ca, key.publicKey, { notBefore: Date.now() + 10 * minute });
    await assert.rejects(check(pem), ({ retryAfterMs }: { retryAfterMs?: number }) => {
      assert.ok(retryAfterMs !== undefined && retryAfterMs > 9 * minute);
      assert.ok(retryAfterMs <= 10 * minute);
      return true;
    });
  });

  it('accepts a certificate that becomes valid within the clock leeway', async () => {
    await check(await issue(ca, key.publicKey, { notBefore: Date.now() + minute / 2 }));
  });

  it('never shows a key from the response', async () => {
    const pem = Buffer.concat([await issue(ca, key.publicKey), other.exportPem().expose()]);
    const secret = Buffer.from(other.exportPem().expose()).toString().split('\n')[1] ?? '';
    await assert.rejects(check(pem), (error: Error) => !error.message.includes(secret));
  });
});
