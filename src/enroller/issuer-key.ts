import { X509Certificate } from 'node:crypto';
import { parsePem } from '../core/pem.ts';
import { x509 } from '../core/x509.ts';
import { isSignedBy } from '../kube/authorities.ts';
import { isSameKey } from '../sys/public-key.ts';

export interface IssuerComparison {
  /** The chain in use, PEM, the leaf first. */
  readonly previous: Uint8Array;
  /** The new chain. */
  readonly issued: Uint8Array;
  /** CAs in PEM. Some may have signed the chains. */
  readonly authorities?: Uint8Array | undefined;
}

/**
 * True if the same keys signed both chains. The names of the CAs cannot show this: the old and
 * the new CA of a cluster are both called "kubernetes". False if nothing identifies the keys.
 */
export function hasSameIssuerKey({ previous, issued, authorities }: IssuerComparison): boolean {
  const [before, after] = [certificatesIn(previous), certificatesIn(issued)];
  const [lastBefore, lastAfter] = [before.at(-1), after.at(-1)];
  if (lastBefore === undefined || lastAfter === undefined) return false;
  if (!haveSameIntermediates(before, after)) return false;
  const known = authorities === undefined ? [] : certificatesIn(authorities);
  const signers = known.filter((ca) => isSignedBy(lastBefore, ca) || isSignedBy(lastAfter, ca));
  if (signers.length > 0) {
    return signers.some((ca) => isSignedBy(lastBefore, ca) && isSignedBy(lastAfter, ca));
  }
  const keyId = authorityKeyId(lastBefore);
  return keyId !== undefined && keyId === authorityKeyId(lastAfter);
}

/** The API server may trust only an intermediate CA, so the key of that CA must not change either. */
function haveSameIntermediates(
  before: readonly X509Certificate[],
  after: readonly X509Certificate[],
): boolean {
  return (
    before.length === after.length &&
    before.slice(1).every((ca, index) => {
      const other = after[index + 1];
      return other !== undefined && isSameKey(other.publicKey, ca.publicKey);
    })
  );
}

/** RFC 5280 4.2.1.1; a CA without a Subject Key Identifier omits the extension. */
function authorityKeyId({ raw }: X509Certificate): string | undefined {
  return new x509.X509Certificate(raw).getExtension(x509.AuthorityKeyIdentifierExtension)?.keyId;
}

/** Omits unreadable certificates, because they verify nothing. */
function certificatesIn(pem: Uint8Array): X509Certificate[] {
  return parsePem(pem)
    .filter(({ label }) => label === 'CERTIFICATE')
    .flatMap(({ der }) => {
      try {
        return [new X509Certificate(der)];
      } catch {
        return [];
      }
    });
}
