import type { Instant } from './instant.ts';

/**
 * Key usages by the names certificates.k8s.io gives them.
 * Source: `KeyUsage` in k8s.io/api/certificates/v1/types.go, reduced to those an
 * X.509 certificate can carry (the two "gated crypto" names have no OID of their own left).
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

/** DNS names in lower case, IP addresses in canonical text form (see ip-address.ts); both sorted and without duplicates. */
export interface SubjectAltNames {
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
}

/** What may be known of a certificate by everyone: nothing here is secret, and all of it is JSON. */
export interface CertificateFacts extends SubjectAltNames {
  /** Lower-case hexadecimal without leading zeros, as `kubectl` and Prometheus exporters show it. */
  readonly serial: string;
  readonly subject: Subject;
  /** The issuer as an RFC 4514 string, for people. */
  readonly issuer: string;
  /** SANs that are neither DNS names nor IP addresses (e-mail, URI …), as `type:value`. */
  readonly otherNames: readonly string[];
  readonly usages: readonly Usage[];
  readonly notBefore: Instant;
  readonly notAfter: Instant;
  /** Signed by its own key, or that of a kubelet: a stand-in until the cluster has issued the real one. */
  readonly selfSigned: boolean;
}

/** A certificate with its key in one file of the certificate directory. */
export interface PairFacts extends CertificateFacts {
  /** The file itself, never the `-current.pem` link. */
  readonly path: string;
  /**
   * Modification time of the file: the closest thing to the moment of issue that
   * survives a restart, so that a restart does not move the rotation deadline.
   */
  readonly storedAt: Instant;
}
