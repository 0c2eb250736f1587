import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { day } from '../../../src/core/instant.ts';
import { parsePem } from '../../../src/core/pem.ts';
import { inventoryCertificate, usages } from '../../../src/pki/inventory/certificate.ts';
import { makeCa } from '../kubeadm-tree.ts';

const validity = { notBefore: Date.now() - day, notAfter: Date.now() + day };
const { pem } = await makeCa('kubernetes', validity);
const [{ der } = { der: new Uint8Array() }] = parsePem(Buffer.from(pem));

describe('inventoryCertificate()', () => {
  it('leaves out what follows the certificate, such as trust settings', () => {
    const alone = inventoryCertificate(der);
    for (const more of [Buffer.from('3000', 'hex'), Buffer.from('ffff', 'hex')]) {
      const certificate = inventoryCertificate(Buffer.concat([der, more]));
      assert.equal(certificate?.sha256, alone?.sha256);
      assert.deepEqual(new Uint8Array(certificate?.der ?? []), new Uint8Array(der));
    }
  });
});

describe('usages()', () => {
  it('has the key usages', () => {
    const certificate = inventoryCertificate(der);
    assert.ok(certificate);
    assert.deepEqual(usages(certificate), ['digital signature', 'key encipherment', 'cert sign']);
  });

  it('leaves out a malformed key usage', () => {
    const damaged = Buffer.from(der);
    // The OID, `critical`, and the OCTET STRING with the BIT STRING, whose length is wrong now.
    const at = damaged.indexOf(Buffer.from('551d0f0101ff0404', 'hex'));
    assert.notEqual(at, -1);
    damaged[at + 9] = 0x7f;
    const certificate = inventoryCertificate(damaged);
    assert.ok(certificate);
    assert.deepEqual(usages(certificate), []);
  });
});
