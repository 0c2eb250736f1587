import { createHash, X509Certificate } from 'node:crypto';
import type { CaPin } from '../core/ca-pin.ts';
import { basicConstraints, maySignCertificates, readParts } from '../core/certificate-parts.ts';
import { readDer } from '../core/der.ts';
import { formatInstant } from '../core/instant.ts';
import { nameOf } from '../kube/server-certificate.ts';
import type { DiscoveredAuthority } from './discovery.ts';

/** Undefined for a certificate that is malformed or may not sign certificates. */
export function readAuthority(
  der: Uint8Array<ArrayBuffer>,
  pins: readonly CaPin[],
): DiscoveredAuthority | undefined {
  try {
    const parts = readParts(der);
    const isCa = basicConstraints(parts).isCa && maySignCertificates(parts);
    // Go refuses bytes after the certificate, and OpenSSL ignores them.
    if (!isCa || readDer(der).length !== 1) return undefined;
    const { subject, validToDate } = new X509Certificate(der);
    const pin: CaPin = `sha256:${sha256(parts.publicKey)}`;
    return {
      der,
      subject: nameOf(subject),
      notAfter: validToDate.getTime(),
      pin,
      fingerprint: sha256(der),
      isPinned: pins.includes(pin),
    };
  } catch {
    return undefined;
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** For messages: `sha256:… (CN=kubernetes, until 2036-11-26T10:00:00Z)`. */
export function describeAuthority({ pin, subject, notAfter }: DiscoveredAuthority): string {
  return `${pin} (${subject}, until ${formatInstant(notAfter)})`;
}

/** A cluster has one CA, or two during a CA rollover. A longer list is a mistake or an attack. */
const mostDescribed = 5;

export function describeAuthorities(authorities: readonly DiscoveredAuthority[]): string {
  const others = authorities.length - mostDescribed;
  return [
    ...authorities.slice(0, mostDescribed).map(describeAuthority),
    ...(others > 0 ? [`and ${others} more`] : []),
  ].join(', ');
}
