import type { CaPin } from '../core/ca-pin.ts';
import { basicConstraints, maySignCertificates, readParts } from '../core/certificate-parts.ts';
import { readDer } from '../core/der.ts';
import { formatInstant } from '../core/instant.ts';
import { readAuthority } from '../kube/authorities.ts';
import type { DiscoveredAuthority } from './discovery.ts';

/** Undefined for a certificate that is malformed or may not sign certificates. */
export function discoveredAuthority(
  der: Uint8Array<ArrayBuffer>,
  pins: readonly CaPin[],
): DiscoveredAuthority | undefined {
  try {
    const parts = readParts(der);
    const isCa = basicConstraints(parts).isCa && maySignCertificates(parts);
    // Go refuses bytes after the certificate, and OpenSSL ignores them.
    if (!isCa || readDer(der).length !== 1) return undefined;
    const { subject, notAfter, pin, fingerprint } = readAuthority(der);
    return { der, subject, notAfter, pin, fingerprint, isPinned: pins.includes(pin) };
  } catch {
    return undefined;
  }
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
