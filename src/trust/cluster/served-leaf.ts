import { X509Certificate } from 'node:crypto';
import { basicConstraints, readParts } from '../../core/certificate-parts.ts';
import { describeError } from '../../core/errors.ts';
import { second } from '../../core/instant.ts';
import { printable } from '../../core/printable.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { servedChain } from '../../kube/server-certificate.ts';
import { isSameKey } from '../../sys/public-key.ts';
import { servedCertificate } from '../../sys/served-certificate.ts';
import { isSignedBy } from '../../kube/authorities.ts';
import type { RolloverAuthorities } from './gate.ts';
import type { IssuedBy } from './issued-by.ts';
import { issuerOf } from './issued-by.ts';

/** What a TLS server presents. */
export type ServedLeaf =
  | {
      readonly issuedBy: IssuedBy;
      /** A client that trusts only the old CA accepts the certificate too. */
      readonly hasBridge: boolean;
    }
  | { readonly issuedBy: 'unreadable'; readonly reason: string };

export interface DialedServer {
  readonly host: string;
  readonly port: number;
}

const handshakeMs = 5 * second;

/** Dials without verification, because any CA may have issued the certificate. */
export async function servedLeaf(
  server: DialedServer,
  authorities: RolloverAuthorities,
  signal: AbortSignal,
): Promise<ServedLeaf> {
  try {
    const leaf = await servedCertificate({ ...server, signal, handshakeMs });
    return {
      issuedBy: issuerOf(leaf, authorities),
      hasBridge: servedChain(leaf).some((one) => isBridge(one, authorities)),
    };
  } catch (error) {
    signal.throwIfAborted();
    return { issuedBy: 'unreadable', reason: printable(describeError(error), 200) };
  }
}

/** The new CA's key, certified by the old CA. */
function isBridge(certificate: X509Certificate, { old, next }: RolloverAuthorities): boolean {
  if (next === undefined || !isSameKey(certificate.publicKey, keyOf(next))) return false;
  return isSignedBy(certificate, old) && basicConstraints(readParts(certificate.raw)).isCa;
}

function keyOf({ der }: TrustAuthority): X509Certificate['publicKey'] {
  return new X509Certificate(der).publicKey;
}
