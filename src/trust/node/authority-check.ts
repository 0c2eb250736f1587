import type { KeyObject } from 'node:crypto';
import { X509Certificate } from 'node:crypto';
import {
  basicConstraints,
  maySignCertificates,
  oidOf,
  readParts,
} from '../../core/certificate-parts.ts';
import { contentOf, isSameBytes, readDer } from '../../core/der.ts';
import { describeError } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { formatInstant } from '../../core/instant.ts';
import { onlyValue, readStrictDer } from '../../core/strict-der.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { readValidity } from '../../core/validity.ts';
import { isSignedBy } from '../../kube/authorities.ts';
import { TrustFault } from './refused-trust.ts';

interface AuthorityCheck {
  readonly bundle: readonly TrustAuthority[];
  readonly now: Instant;
}

/**
 * Checks one CA of a bundle that this node does not trust yet.
 * @throws TrustFault
 */
export function requireSoundAuthority(
  authority: TrustAuthority,
  { bundle, now }: AuthorityCheck,
): void {
  const certificate = new X509Certificate(authority.der);
  requireStrictEncoding(authority);
  requireCa(authority);
  requireValid(authority, now);
  requireStrongKey(certificate);
  requireStrongSignature(certificate);
  requireKnownIssuer(authority, bundle);
}

/**
 * OpenSSL accepts encodings that Go rejects. A kubelet uses no CA of a clientCAFile with one
 * certificate that Go rejects, and leaves that certificate out of other files.
 */
function requireStrictEncoding({ der }: TrustAuthority): void {
  try {
    onlyValue(der);
    requireStrictDer(der);
    readValidity(der);
    const { serial, extensions } = readParts(der);
    if ((serial[0] ?? 0) >= 0x80) throw new Error('the serial number is negative');
    if (new Set(extensions.map(({ oid }) => oid)).size < extensions.length) {
      throw new Error('an extension occurs twice');
    }
  } catch (error) {
    throw new TrustFault('malformed', `has an encoding that Go rejects: ${describeError(error)}`);
  }
}

const constructed = 0x20;

function requireStrictDer(bytes: Uint8Array): void {
  for (const { tag, content } of readStrictDer(bytes)) {
    if ((tag & constructed) !== 0) requireStrictDer(content);
  }
}

function requireCa({ der }: TrustAuthority): void {
  const parts = readParts(der);
  if (!parsing(() => basicConstraints(parts).isCa)) {
    throw new TrustFault('not-a-ca', 'is not a CA (no basic constraint CA:TRUE)');
  }
  if (!parsing(() => maySignCertificates(parts))) {
    throw new TrustFault('not-a-ca', 'may not sign certificates (its key usage lacks cert sign)');
  }
}

function requireValid({ notBefore, notAfter }: TrustAuthority, now: Instant): void {
  if (now >= notAfter) {
    throw new TrustFault('expired', `expired at ${formatInstant(notAfter)}`);
  }
  if (now < notBefore) {
    const clock = `the clock says ${formatInstant(now)}`;
    const message = `is not valid before ${formatInstant(notBefore)}, and ${clock}`;
    throw new TrustFault('not-yet-valid', message);
  }
}

/** The curves that Go's crypto/x509 knows. */
const curves = new Set(['prime256v1', 'secp384r1', 'secp521r1']);
const fewestRsaBits = 2048;

function requireStrongKey(certificate: X509Certificate): void {
  const found = weakness(certificate);
  if (found === undefined) return;
  throw new TrustFault(
    'weak-key',
    `has ${found}; accepted are RSA with 2048 bits or more, P-256, P-384, P-521 and Ed25519`,
  );
}

function weakness(certificate: X509Certificate): string | undefined {
  const key = keyOf(certificate);
  const { modulusLength = 0, publicExponent = 0n, namedCurve } = key?.asymmetricKeyDetails ?? {};
  switch (key?.asymmetricKeyType) {
    case 'rsa':
      if (modulusLength < fewestRsaBits) return `an RSA key with ${modulusLength} bits`;
      // An attacker can forge signatures of a key with the exponent 1.
      return publicExponent < 3n ? `an RSA key with the exponent ${publicExponent}` : undefined;
    case 'ec':
      if (namedCurve === undefined) return 'an ECDSA key on a curve without a name';
      return curves.has(namedCurve) ? undefined : `an ECDSA key on the curve ${namedCurve}`;
    case 'ed25519':
      return undefined;
    case undefined:
      return 'a key that OpenSSL does not support';
    default:
      return `a key of the kind ${key?.asymmetricKeyType}`;
  }
}

function keyOf(certificate: X509Certificate): KeyObject | undefined {
  try {
    return certificate.publicKey;
  } catch {
    return undefined;
  }
}

/** SHA-256, SHA-384 and SHA-512 with RSA (RFC 8017) or ECDSA (RFC 5758), and Ed25519 (RFC 8410). */
const strongSignatures = new Set([
  '1.2.840.113549.1.1.11',
  '1.2.840.113549.1.1.12',
  '1.2.840.113549.1.1.13',
  '1.2.840.10045.4.3.2',
  '1.2.840.10045.4.3.3',
  '1.2.840.10045.4.3.4',
  '1.3.101.112',
]);
const rsaPss = '1.2.840.113549.1.1.10';
/** SHA-256, SHA-384 and SHA-512 alone, in the parameters of RSASSA-PSS. */
const strongHashes = new Set([
  '2.16.840.1.101.3.4.2.1',
  '2.16.840.1.101.3.4.2.2',
  '2.16.840.1.101.3.4.2.3',
]);

function requireStrongSignature(certificate: X509Certificate): void {
  const { signatureAlgorithmOid: oid, signatureAlgorithm: name } = certificate;
  if (
    oid === rsaPss
      ? strongHashes.has(parsing(() => pssHash(certificate)))
      : strongSignatures.has(oid)
  )
    return;
  throw new TrustFault(
    'weak-signature',
    `is signed with ${name ?? oid}; accepted are SHA-256, SHA-384 and SHA-512 with RSA or ECDSA, and Ed25519`,
  );
}

/** RFC 4055 3.1. Without the field, the hash is SHA-1. */
function pssHash({ raw }: X509Certificate): string {
  const [, algorithm] = readDer(contentOf(readDer(raw)[0]));
  const [, parameters] = readDer(contentOf(algorithm));
  const field = readDer(parameters?.content ?? new Uint8Array()).find(({ tag }) => tag === 0xa0);
  if (field === undefined) return '';
  const [hash] = readDer(contentOf(readDer(field.content)[0]));
  return oidOf(contentOf(hash));
}

function requireKnownIssuer(authority: TrustAuthority, bundle: readonly TrustAuthority[]): void {
  if (authority.isSelfSigned) return;
  const { issuer } = readParts(authority.der);
  const certificate = new X509Certificate(authority.der);
  const isIssued = bundle.some(
    (candidate) => isSameBytes(candidate.subjectName, issuer) && isSignedBy(certificate, candidate),
  );
  if (isIssued) return;
  throw new TrustFault(
    'not-self-signed',
    'is not self-signed, and the bundle does not contain the CA that issued it',
  );
}

/** OpenSSL parses extensions and parameters only when it needs them. */
function parsing<T>(read: () => T): T {
  try {
    return read();
  } catch {
    throw new TrustFault('malformed', 'has a field that cannot be parsed');
  }
}
