import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, it } from 'node:test';
import { hasCode } from '../../src/core/errors.ts';
import { readValidity } from '../../src/core/validity.ts';
import { parseCertificate } from '../../src/core/x509.ts';
import { derOf, selfSigned } from './openssl.ts';

const near = derOf(selfSigned({ subject: '/CN=near', options: ['-days', '3'] }).certificate);
const far = derOf(selfSigned({ subject: '/CN=far', options: ['-days', '36500'] }).certificate);

/** With other characters of the same length as notAfter, so that all lengths stay correct. */
function ending(certificate: Uint8Array, text: string): Uint8Array<ArrayBuffer> {
  const tag = text.length === 15 ? 0x18 : 0x17;
  const output = new Uint8Array(certificate);
  // After the Z of notBefore. Two bytes alone also occur in keys and signatures.
  const at = Buffer.from(output).indexOf(Uint8Array.of(0x5a, tag, text.length));
  assert.notEqual(at, -1);
  output.set(Buffer.from(text, 'latin1'), at + 3);
  return output;
}

describe('readValidity()', () => {
  for (const [name, certificate] of [
    ['UTCTime', near],
    ['GeneralizedTime', far],
  ] as const) {
    it(`reads ${name} as OpenSSL does`, () => {
      const { validFromDate, validToDate } = new X509Certificate(certificate);
      assert.deepEqual(readValidity(certificate), {
        notBefore: validFromDate.getTime(),
        notAfter: validToDate.getTime(),
      });
    });
  }

  for (const [text, moment] of [
    ['490101000000Z', Date.UTC(2049, 0, 1)],
    ['500101000000Z', Date.UTC(1950, 0, 1)],
    ['991231235959Z', Date.UTC(1999, 11, 31, 23, 59, 59)],
    ['280229000000Z', Date.UTC(2028, 1, 29)],
    ['99991231235959Z', Date.UTC(9999, 11, 31, 23, 59, 59)],
  ] as const) {
    it(`reads ${text}`, () => {
      assert.equal(readValidity(ending(text.length === 15 ? far : near, text)).notAfter, moment);
    });
  }

  for (const [what, text] of [
    ['a day that does not exist', '260230000000Z'],
    ['hour 24', '260101240000Z'],
    ['an offset', '2601010000+01'],
    ['a minute without seconds', '2601010000Z  '],
    ['letters', '26Jan01 0000Z'],
    ['NUL', '26010100000\0Z'],
    ['a tab among the digits', '2601012\t3113Z'],
    ['terminal control codes', '26010\u009b\x1b00000Z'],
    ['month 0', '00000000000000Z'],
  ] as const) {
    it(`refuses ${what}, as parseCertificate() does`, async () => {
      const certificate = ending(text.length === 15 ? far : near, text);
      assert.throws(
        () => readValidity(certificate),
        /a time in the certificate is invalid: \P{C}*$/u,
      );
      await assert.rejects(parseCertificate(certificate), (error) =>
        hasCode(error, 'CERT_MALFORMED'),
      );
    });
  }

  it('refuses a certificate that is truncated anywhere', () => {
    for (let length = 0; length < near.length; length += 1) {
      assert.throws(() => readValidity(near.subarray(0, length)), Error, `${length} bytes`);
    }
  });
});
