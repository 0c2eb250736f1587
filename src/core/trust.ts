import type { CaPin } from './ca-pin.ts';
import type { Instant } from './instant.ts';

/** A CA certificate in a trust bundle. */
export interface TrustAuthority {
  readonly der: Uint8Array<ArrayBuffer>;
  /** The SHA-256 hash of the certificate, in lower-case hexadecimal. */
  readonly fingerprint: string;
  /** Identifies the key. A CA that was renewed with its key has the same pin and another fingerprint. */
  readonly pin: CaPin;
  readonly subject: string;
  /** The subject in DER. Two CAs may have the same subject. */
  readonly subjectName: Uint8Array<ArrayBuffer>;
  /** RFC 5280 4.2.1.2, in lower-case hexadecimal. */
  readonly subjectKeyId?: string;
  /** False for an intermediate CA, and for a bridge: the new CA's key certified by the old CA. */
  readonly isSelfSigned: boolean;
  readonly notBefore: Instant;
  readonly notAfter: Instant;
}

/**
 * How far this node is in a CA rollover, from its files and certificates alone:
 * - `single`: it trusts one CA, and no rollover is in progress
 * - `adding`: a wanted CA is missing in a place, or the kubelet has not loaded it yet
 * - `union`: all places have the old and the new CA, and the signer still uses the old one
 * - `reissuing`: a certificate of this node was not issued by the CA that its signer uses
 * - `reissued`: the CA of the signer issued all certificates, and the old CA is still trusted
 * - `dropping`: the source no longer has a trusted CA
 */
export const trustStages = [
  'single',
  'adding',
  'union',
  'reissuing',
  'reissued',
  'dropping',
] as const;
export type TrustStage = (typeof trustStages)[number];

/** Why a bundle is not used. These are labels of nodecertd_trust_refused_total. */
export const trustRefusals = [
  'malformed',
  'too-large',
  'too-many',
  'private-key',
  'not-a-ca',
  'expired',
  'not-yet-valid',
  'weak-key',
  'weak-signature',
  'not-self-signed',
  'not-pinned',
  'does-not-verify-server',
] as const;
export type TrustRefusal = (typeof trustRefusals)[number];

export const trustPlaceKinds = [
  'kubelet-kubeconfig',
  'bootstrap-kubeconfig',
  /** authentication.x509.clientCAFile of the kubelet. */
  'client-ca',
  /** The CA file of a control plane, which may be the signing file. nodecertd never writes it. */
  'control-plane-ca',
  'kubeconfig',
  'file',
] as const;
export type TrustPlaceKind = (typeof trustPlaceKinds)[number];

/**
 * The file in the certificate directory to which the embedded CAs of a kubeconfig move. The kubelet
 * still needs it after the package of nodecertd is removed.
 */
export const externalFile = 'cluster-ca.crt';

export const trustSourceKinds = ['file', 'cluster-trust-bundle', 'cluster-info'] as const;
export type TrustSourceKind = (typeof trustSourceKinds)[number];

/** Whether the running kubelet uses the CAs that are in its files. */
export const trustReaderStates = ['current', 'pending', 'unknown'] as const;
export type TrustReaderState = (typeof trustReaderStates)[number];

/** The first 16 digits of a fingerprint, which tell the CAs of a cluster apart. */
export function shortFingerprint(fingerprint: string): string {
  return fingerprint.slice(0, shortLength);
}

const shortLength = 16;

/** `CN=kubernetes (0123456789abcdef)` */
export function authorityName({
  subject,
  fingerprint,
}: Pick<TrustAuthority, 'subject' | 'fingerprint'>): string {
  return `${subject} (${shortFingerprint(fingerprint)})`;
}
