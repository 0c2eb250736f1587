import type { CertificateTemplate, KeyAlgorithm } from './certificate-spec.ts';
import type { Subject } from './certificate.ts';
import type { CryptoProvider } from './x509.ts';
import { webcrypto, x509 } from './x509.ts';

interface KeyParameters {
  readonly generate: Algorithm | EcKeyGenParams | RsaHashedKeyGenParams;
  readonly sign: Algorithm | EcdsaParams;
  /** The PEM form that the kubelet writes for this kind of key (client-go keyutil). */
  readonly pem: { readonly label: string; readonly type: 'sec1' | 'pkcs1' | 'pkcs8' };
}

/** Each hash matches the strength of the key, as in Go's x509 package. */
export const keyParameters: Readonly<Record<KeyAlgorithm, KeyParameters>> = {
  'ecdsa-p256': ecdsa('P-256', 'SHA-256'),
  'ecdsa-p384': ecdsa('P-384', 'SHA-384'),
  'rsa-2048': rsa(2048),
  'rsa-3072': rsa(3072),
  'rsa-4096': rsa(4096),
  ed25519: {
    generate: { name: 'Ed25519' },
    sign: { name: 'Ed25519' },
    pem: { label: 'PRIVATE KEY', type: 'pkcs8' },
  },
};

function ecdsa(namedCurve: string, hash: string): KeyParameters {
  return {
    generate: { name: 'ECDSA', namedCurve },
    sign: { name: 'ECDSA', hash },
    pem: { label: 'EC PRIVATE KEY', type: 'sec1' },
  };
}

function rsa(modulusLength: number): KeyParameters {
  const name = 'RSASSA-PKCS1-v1_5';
  const publicExponent = Uint8Array.of(1, 0, 1);
  return {
    generate: { name, modulusLength, publicExponent, hash: 'SHA-256' },
    sign: { name },
    pem: { label: 'RSA PRIVATE KEY', type: 'pkcs1' },
  };
}

/**
 * Keys, and their crypto provider unless it is `webcrypto`. A provider rejects the keys of other
 * providers.
 */
export interface SigningKeys extends CryptoKeyPair {
  readonly provider?: CryptoProvider;
}

/**
 * A PKCS #10 request (RFC 2986) in DER, in the form that the kubelet uses: O before CN, and SANs,
 * if there are any, as the only extension. The CertificateSigningRequest object contains the
 * usages.
 */
export async function createCsr(
  template: CertificateTemplate,
  keys: SigningKeys,
): Promise<Uint8Array<ArrayBuffer>> {
  const names: x509.JsonGeneralNames = [
    ...template.dnsNames.map((value) => ({ type: 'dns' as const, value })),
    ...template.ipAddresses.map((value) => ({ type: 'ip' as const, value })),
  ];
  const request = await x509.Pkcs10CertificateRequestGenerator.create(
    {
      name: subjectName(template.subject),
      keys,
      signingAlgorithm: keyParameters[template.key].sign,
      extensions: names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)],
    },
    keys.provider ?? webcrypto,
  );
  return new Uint8Array(request.rawData);
}

function subjectName({ commonName, organizations }: Subject): x509.Name {
  return new x509.Name([
    ...organizations.map((value) => ({ O: [text(value)] })),
    { CN: [text(commonName)] },
  ]);
}

/**
 * PrintableString if it can represent the value, else UTF8String, as in Go's encoding/asn1. The
 * type is explicit because the library treats quotes and backslashes in plain text as escapes,
 * and would change the name.
 */
function text(value: string): x509.JsonAttributeObject {
  return /^[A-Za-z0-9 '()+,./:=?-]*$/.test(value)
    ? { printableString: value }
    : { utf8String: value };
}
