import type { Instant } from './instant.ts';

/**
 * Key usages by their names in certificates.k8s.io. Source: `KeyUsage` in
 * k8s.io/api/certificates/v1/types.go, without the obsolete "microsoft sgc" and "netscape sgc".
 */
export const usages = [
  'digital signature',
  'content commitment',
  'key encipherment',
  'data encipherment',
  'key agreement',
  'cert sign',
  'crl sign',
  'encipher only',
  'decipher only',
  'any',
  'server auth',
  'client auth',
  'code signing',
  'email protection',
  'ipsec end system',
  'ipsec tunnel',
  'ipsec user',
  'timestamping',
  'ocsp signing',
] as const;

export type Usage = (typeof usages)[number];

export interface Subject {
  readonly commonName: string;
  readonly organizations: readonly string[];
}

/** See `canonicalAltNames` for the form of the names. */
export interface SubjectAltNames {
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
}

/** Public facts about a certificate, as plain JSON. */
export interface CertificateFacts extends SubjectAltNames {
  /** Lower-case hexadecimal without leading zeros, as kubectl and Prometheus exporters show it. */
  readonly serial: string;
  readonly subject: Subject;
  /** The issuer as an RFC 4514 string, for display. */
  readonly issuer: string;
  /** SANs that are neither DNS names nor IP addresses (e-mail, URI …), as `type:value`. */
  readonly otherNames: readonly string[];
  readonly usages: readonly Usage[];
  readonly notBefore: Instant;
  readonly notAfter: Instant;
  /** Signed by its own key or by a kubelet, so no client trusts the certificate. */
  readonly selfSigned: boolean;
}

/** A certificate and its key, in one PEM file of the certificate directory. */
export interface PairFacts extends CertificateFacts {
  /** The PEM file itself, never the `-current.pem` link. */
  readonly path: string;
  /**
   * Modification time of the file. It counts as the time of issue. It survives a restart, so a
   * restart does not move the rotation deadline.
   */
  readonly storedAt: Instant;
}
