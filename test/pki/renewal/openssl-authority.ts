import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ChainCertificate } from '../../../src/pki/renewal/certificate-chain.ts';
import { readCertificate } from '../../../src/pki/renewal/certificate-chain.ts';
import { derOf, openssl } from '../../core/openssl.ts';

/** In the form of `openssl genpkey`. */
export const keyOptions = {
  'P-256': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  'P-384': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  'P-521': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-521'],
  'RSA 2048': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
  'RSA 4096': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:4096'],
  'RSA 1024': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:1024'],
  'RSA-PSS': ['-algorithm', 'RSA-PSS', '-pkeyopt', 'rsa_keygen_bits:2048'],
  Ed25519: ['-algorithm', 'ED25519'],
} as const satisfies Readonly<Record<string, readonly string[]>>;
export type TestKeyKind = keyof typeof keyOptions;

/** A certificate and its PKCS #8 key in PEM, both made by the openssl program. */
export interface OpensslPair {
  readonly certificate: Buffer;
  readonly key: Buffer;
}

export interface OpensslRequest {
  /** In the form of `openssl req -subj`. */
  readonly subject: string;
  readonly key?: TestKeyKind;
  /** An existing key; a new one by default. */
  readonly keyPem?: Buffer;
  /** Lines of an extension section. */
  readonly extensions?: readonly string[];
  /** The string types of the subject, as in `string_mask` of openssl.cnf. */
  readonly strings?: string;
  /** From now. */
  readonly days?: number;
  /** Absent for a self-signed certificate. */
  readonly signer?: OpensslPair;
}

export const caExtensions = [
  'basicConstraints=critical,CA:TRUE',
  'keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign',
  'subjectKeyIdentifier=hash',
] as const;

export const leafExtensions = [
  'keyUsage=critical,digitalSignature,keyEncipherment',
  'extendedKeyUsage=serverAuth',
  'basicConstraints=critical,CA:FALSE',
  'authorityKeyIdentifier=keyid',
  'subjectAltName=DNS:kubernetes,DNS:cp1,IP:10.96.0.1',
] as const;

export function issueWithOpenssl(request: OpensslRequest): OpensslPair {
  const { subject, key = 'P-256', extensions = [], strings = 'utf8only', days = 365 } = request;
  const directory = mkdtempSync(join(tmpdir(), 'nodecertd-openssl-'));
  const path = (name: string): string => join(directory, name);
  try {
    writeFileSync(
      path('cnf'),
      [
        '[req]',
        'distinguished_name = dn',
        `string_mask = ${strings}`,
        'utf8 = yes',
        '[dn]',
        '[extensions]',
        ...extensions,
      ].join('\n'),
    );
    if (request.keyPem === undefined) openssl(['genpkey', ...keyOptions[key], '-out', path('key')]);
    else writeFileSync(path('key'), request.keyPem);
    const section = ['-config', path('cnf'), '-extensions', 'extensions', '-utf8'];
    const made = ['req', '-x509', '-new', '-key', path('key'), '-subj', subject, ...section];
    const signer = signerOptions(request, path);
    openssl([...made, '-days', String(days), '-out', path('crt'), ...signer]);
    return { certificate: readFileSync(path('crt')), key: readFileSync(path('key')) };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function signerOptions({ signer }: OpensslRequest, path: (name: string) => string): string[] {
  if (signer === undefined) return [];
  writeFileSync(path('ca.crt'), signer.certificate);
  writeFileSync(path('ca.key'), signer.key);
  return ['-CA', path('ca.crt'), '-CAkey', path('ca.key')];
}

export function authorityOf(
  request: Partial<OpensslRequest> & { readonly extensions?: readonly string[] } = {},
): OpensslPair {
  return issueWithOpenssl({
    subject: '/CN=kubernetes',
    extensions: caExtensions,
    days: 3650,
    ...request,
  });
}

export async function parsed({
  certificate,
}: Pick<OpensslPair, 'certificate'>): Promise<ChainCertificate> {
  return readCertificate(derOf(certificate));
}
