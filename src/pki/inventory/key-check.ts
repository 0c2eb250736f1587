import { createPrivateKey } from 'node:crypto';
import { statSync } from 'node:fs';
import { parsePem } from '../../core/pem.ts';
import type { PrivateKeyForm } from '../../core/private-key-parts.ts';
import { hasPublicKeyOf } from '../../core/private-key-parts.ts';
import { parseFileSync } from '../../sys/small-file.ts';
import { isKey, reasonWithoutPath } from './certificate-file.ts';
import type { InventoryCertificate } from './certificate.ts';
import { x509Of } from './certificate.ts';

/** A private key beside a certificate; never the key itself. */
export interface KeyState {
  readonly present: boolean;
  /** Absent for a key in the same file. */
  readonly path?: string;
  /** Undefined if the key cannot be compared; `reason` says why. */
  readonly matches?: boolean;
  readonly reason?: string;
  /** Users other than the owner and the group can read the key. */
  readonly readableByAll?: boolean;
}

/** Compares a key file with a certificate. Never throws. */
export function checkKeyFile(path: string, certificate: InventoryCertificate): KeyState {
  try {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return { present: false, path };
    const readableByAll = (stat.mode & 0o004) !== 0;
    const state = parseFileSync(path, largestKey, (bytes) => compareKey(bytes, certificate));
    return { path, readableByAll, ...state };
  } catch (error) {
    return { present: true, path, reason: reasonWithoutPath(error) };
  }
}

/** An RSA key of 16,384 bits has 13 kB. */
const largestKey = 1024 * 1024;

/** Compares the first key in the bytes with a certificate, and wipes the bytes. */
export function compareKey(
  bytes: Uint8Array<ArrayBuffer>,
  certificate: InventoryCertificate,
): KeyState {
  try {
    const block = parsePem(bytes).find(isKey);
    if (block === undefined) return { present: false };
    const { label, der } = block;
    const key = Buffer.from(der.buffer, der.byteOffset, der.byteLength);
    try {
      if (label === 'ENCRYPTED PRIVATE KEY') return { present: true, reason: 'is encrypted' };
      const type = keyTypes.get(label);
      if (type === undefined) return { present: true, reason: `is a ${label}, an unknown kind` };
      const matches =
        hasPublicKeyOf(certificate.der, key, type) ||
        x509Of(certificate).checkPrivateKey(createPrivateKey({ key, format: 'der', type }));
      return { present: true, matches };
    } finally {
      key.fill(0);
    }
  } catch {
    // Without the error, which may quote a part of the key.
    return { present: true, reason: 'cannot be parsed; it may be encrypted' };
  } finally {
    bytes.fill(0);
  }
}

const keyTypes: ReadonlyMap<string, PrivateKeyForm> = new Map([
  ['PRIVATE KEY', 'pkcs8'],
  ['RSA PRIVATE KEY', 'pkcs1'],
  ['EC PRIVATE KEY', 'sec1'],
]);
