import { createPrivateKey, sign } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CertificateParts } from '../../src/core/certificate-parts.ts';
import { readParts, writeSigned, writeToBeSigned } from '../../src/core/certificate-parts.ts';
import { derTags, writeDer } from '../../src/core/der.ts';
import { day } from '../../src/core/instant.ts';
import { encodePem, parsePem } from '../../src/core/pem.ts';
import { makeCa, makeLeaf } from '../pki/kubeadm-tree.ts';

const filesPerFolder = 100;

/**
 * Writes PEM files with one certificate each, in folders below `directory`. All certificates
 * differ in serial number and subject, and share one key and one CA.
 */
export async function writeCertificateFiles(directory: string, count: number): Promise<void> {
  const [notBefore, notAfter] = [Date.now() - day, Date.now() + 365 * day];
  const ca = await makeCa('bench', { notBefore, notAfter: notAfter + 3650 * day });
  const leaf = { subject: 'CN=leaf', usages: ['server auth'] } as const;
  const { pem } = await makeLeaf(ca, {
    ...leaf,
    altNames: [{ type: 'dns', value: 'leaf.example.com' }],
    notBefore,
    notAfter,
  });
  const parts = partsOf(pem);
  const key = createPrivateKey(ca.keyPem);
  const algorithm = writeDer(derTags.sequence, Uint8Array.fromHex('06082a8648ce3d040302'));
  for (let at = 0; at < count; at += 1) {
    const toBeSigned = writeToBeSigned({
      serial: Uint8Array.of(0x01, at >> 16, at >> 8, at),
      algorithm,
      issuer: parts.issuer,
      notBefore,
      notAfter,
      subject: commonName(`node-${at}`),
      publicKey: parts.publicKey,
      extensions: parts.extensions.map(({ encoded }) => encoded),
    });
    const signature = sign('sha256', toBeSigned, key);
    const der = writeSigned(toBeSigned, { algorithm, signature });
    const folder = join(directory, String(Math.floor(at / filesPerFolder)));
    if (at % filesPerFolder === 0) mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `${at}.pem`), encodePem('CERTIFICATE', der));
  }
}

function partsOf(pem: string): CertificateParts {
  const [block] = parsePem(Buffer.from(pem));
  if (block === undefined) throw new Error('the CA issued no certificate');
  return readParts(block.der);
}

/** A name with the attribute 2.5.4.3. */
function commonName(text: string): Uint8Array {
  const value = writeDer(0x0c, Buffer.from(text));
  const attribute = writeDer(derTags.sequence, Uint8Array.of(0x06, 0x03, 0x55, 0x04, 0x03), value);
  return writeDer(derTags.sequence, writeDer(0x31, attribute));
}
