import type { SubjectAltNames } from './certificate.ts';
import { canonicalIp } from './ip-address.ts';

/**
 * Names in the one form in which they are compared: DNS names in lower case, IP
 * addresses as canonical text, both sorted and without duplicates. What is no IP
 * address stays as it is, for a check to stumble over. Apart from x509.ts, so that
 * the keeper can use it without loading the certificate library.
 */
export function canonicalAltNames({ dnsNames, ipAddresses }: SubjectAltNames): SubjectAltNames {
  return {
    dnsNames: sortedUnique(dnsNames.map((name) => name.toLowerCase())),
    ipAddresses: sortedUnique(ipAddresses.map((address) => canonicalIp(address) ?? address)),
  };
}

export function sortedUnique(values: readonly string[]): string[] {
  return [...new Set(values)].sort();
}
