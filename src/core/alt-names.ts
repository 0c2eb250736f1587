import type { SubjectAltNames } from './certificate.ts';
import { canonicalIp } from './ip-address.ts';

/**
 * Canonical SANs for comparisons: DNS names in lower case, IP addresses in canonical form, both
 * sorted and without duplicates. Keeps an invalid IP address, so that the comparison fails. This
 * function is not in x509.ts, because the keeper must not load the certificate library.
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
