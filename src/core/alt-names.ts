import type { SubjectAltNames } from './certificate.ts';
import { canonicalIp } from './ip-address.ts';

/**
 * SANs in the form in which they are compared: DNS names in lower case, IP addresses as
 * canonical text, both sorted and without duplicates. An invalid IP address is kept, so that
 * a comparison fails on it. Not in x509.ts, because the keeper uses it and must not load the
 * certificate library.
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
