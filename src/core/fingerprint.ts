/**
 * The SHA-256 fingerprint of a certificate in lower-case hexadecimal. Accepts capitals and the
 * colons of `openssl x509 -fingerprint -sha256`. Undefined for any other text.
 */
export function parseFingerprint(text: string): string | undefined {
  const isSeparated = /^[\da-f]{2}(?::[\da-f]{2}){31}$/i.test(text);
  const digits = isSeparated ? text.replaceAll(':', '') : text;
  return /^[\da-f]{64}$/i.test(digits) ? digits.toLowerCase() : undefined;
}
