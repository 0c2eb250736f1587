import { isSameBytes } from './der.ts';
import type { TrustAuthority } from './trust.ts';

type Bundle = readonly TrustAuthority[];

/** What OpenSSL knows of a CA before it tries its key. */
type AuthorityIdentity = Pick<TrustAuthority, 'subject' | 'subjectKeyId' | 'pin'>;

/**
 * True for one certificate, and for a CA that was renewed with its key: both verify the same
 * certificates. A verifier also compares the names in DER (Go) and the key identifiers (OpenSSL).
 * A bridge has the key and the name of the new CA, but verifies nothing without the old CA.
 */
export function isSameAuthority(a: TrustAuthority, b: TrustAuthority): boolean {
  if (a.fingerprint === b.fingerprint) return true;
  const haveSameKeyId =
    a.subjectKeyId === undefined ||
    b.subjectKeyId === undefined ||
    a.subjectKeyId === b.subjectKeyId;
  return (
    a.isSelfSigned &&
    b.isSelfSigned &&
    a.pin === b.pin &&
    isSameBytes(a.subjectName, b.subjectName) &&
    haveSameKeyId
  );
}

/**
 * What a node trusts after a change: the held CAs first, the new ones last. A renewed certificate
 * takes the place of the earlier one of its key. A source that returns to the earlier certificate
 * changes nothing, so two sources that differ cannot cause a write at each run.
 */
export function unionOf(held: Bundle, wanted: Bundle): TrustAuthority[] {
  const union: TrustAuthority[] = [];
  for (const authority of [...held, ...wanted]) {
    const at = union.findIndex((known) => isSameAuthority(known, authority));
    const known = union[at];
    if (known === undefined) union.push(authority);
    else if (isLater(authority, known)) union[at] = authority;
  }
  return union;
}

/** The wanted CAs that `held` does not have, or has only with an earlier certificate. */
export function missingFrom(held: Bundle, wanted: Bundle): TrustAuthority[] {
  return wanted.filter(
    (authority) =>
      !held.some((known) => isSameAuthority(known, authority) && !isLater(authority, known)),
  );
}

/** The held CAs that the source lacks. Another certificate of the same CA counts. */
export function unwantedIn(held: Bundle, wanted: Bundle): TrustAuthority[] {
  return held.filter(
    (authority) => !wanted.some((candidate) => isSameAuthority(candidate, authority)),
  );
}

/** True if both have the same certificates, in any order. */
export function isSameBundle(a: Bundle, b: Bundle): boolean {
  return isPartOf(a, b) && isPartOf(b, a);
}

function isPartOf(a: Bundle, b: Bundle): boolean {
  return a.every(({ fingerprint }) => b.some((other) => other.fingerprint === fingerprint));
}

/**
 * Pairs of CAs with one subject and different keys, of which one has no SubjectKeyIdentifier.
 * OpenSSL, and with it Node, curl and Python, tries only the first CA of such a pair.
 */
export function ambiguousPairs(bundle: Bundle): [TrustAuthority, TrustAuthority][] {
  return bundle.flatMap((first, index) =>
    bundle
      .slice(index + 1)
      .filter((second) => isAmbiguous(first, second))
      .map((second): [TrustAuthority, TrustAuthority] => [first, second]),
  );
}

/** True for such a pair. */
export function isAmbiguous(a: AuthorityIdentity, b: AuthorityIdentity): boolean {
  const lacksKeyId = a.subjectKeyId === undefined || b.subjectKeyId === undefined;
  return lacksKeyId && a.pin !== b.pin && haveSameSubject(a, b);
}

/** As OpenSSL compares names: neither the case nor the kind of string counts. */
function haveSameSubject(a: AuthorityIdentity, b: AuthorityIdentity): boolean {
  return a.subject.toLowerCase() === b.subject.toLowerCase();
}

/** The certificate that was issued later. */
function isLater(a: TrustAuthority, b: TrustAuthority): boolean {
  if (a.notBefore !== b.notBefore) return a.notBefore > b.notBefore;
  if (a.notAfter !== b.notAfter) return a.notAfter > b.notAfter;
  // Without this rule, the order of the sources would decide.
  return a.fingerprint > b.fingerprint;
}
