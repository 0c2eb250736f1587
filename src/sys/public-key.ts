import type { KeyObject } from 'node:crypto';

/**
 * `KeyObject.equals()` leaves an error in OpenSSL's queue for two kinds of key, such as RSA and ECDSA.
 * The next `createPrivateKey()` of the process then fails with that error (Node 26.10).
 */
export function isSameKey(a: KeyObject, b: KeyObject): boolean {
  return a.asymmetricKeyType === b.asymmetricKeyType && a.equals(b);
}
