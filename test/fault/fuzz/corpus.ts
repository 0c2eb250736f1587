import { createPrivateKey } from 'node:crypto';
import { parsePem } from '../../../src/core/pem.ts';
import type { Usage } from '../../../src/core/certificate.ts';
import { derOf, requestFor, selfSigned, signedBy } from '../../core/openssl.ts';
import type { Authority } from '../../kube/support/certificates.ts';
import { makeAuthority } from '../../kube/support/certificates.ts';

/** Valid inputs, from which damaged ones are made. */
export interface Corpus {
  /** As DER. */
  readonly certificates: readonly Uint8Array[];
  readonly requests: readonly Uint8Array[];
  readonly keys: readonly { readonly label: string; readonly der: Uint8Array }[];
  /** Certificate and key as one PEM text. */
  readonly pairs: readonly Uint8Array[];
  /** A chain from a signer, and its CA. */
  readonly chain: Uint8Array;
  readonly authority: Uint8Array;
  readonly server: { readonly cert: string; readonly key: string };
  readonly token: string;
}

const token = 'canary-Zq7hT4wV9sXk2LmR8bNd';
const node = '/O=system:nodes/CN=system:node:worker-1';

/** Arguments of `openssl genpkey`. */
const keyKinds = [
  ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
  ['-algorithm', 'ED25519'],
];

const sans =
  'subjectAltName=DNS:worker-1.Example.com,DNS:*.pods,IP:10.0.0.1,IP:fd00::1,email:a@b.c,URI:spiffe://x/y';

export async function makeCorpus(): Promise<Corpus> {
  const authority = await makeAuthority('fuzz-ca');
  const issued = await issuedPairs(authority);
  const own = keyKinds.map((key) =>
    selfSigned({ subject: node, key, extensions: [sans, 'keyUsage=digitalSignature'] }),
  );
  const ca = selfSigned({ subject: '/C=CH/O=Überfluss, Inc./O=b/CN=c+a/CN=ca\\/"q"' });
  const blocks = [...own, ca].flatMap(({ key }) => parsePem(key));
  const pems = [...own, ca].map(({ certificate }) => certificate);
  return {
    certificates: [...pems, signedBy(ca, node), ...issued.map(({ cert }) => Buffer.from(cert))].map(
      derOf,
    ),
    requests: requests(),
    keys: [...blocks, ...blocks.flatMap(otherForms)],
    pairs: [
      ...own.map(({ certificate, key }) => Buffer.concat([certificate, key])),
      ...issued.map(({ cert, key }) => Buffer.from(cert + key)),
    ],
    chain: Buffer.from((issued[0]?.cert ?? '') + authority.pem),
    authority: Buffer.from(authority.pem),
    server: await authority.issue({
      commonName: 'api',
      usages: ['server auth'],
      ips: ['127.0.0.1'],
    }),
    token,
  };
}

async function issuedPairs(authority: Authority) {
  const usages: readonly Usage[][] = [
    ['digital signature', 'client auth'],
    ['digital signature', 'server auth'],
  ];
  return Promise.all(
    usages.map((wanted) =>
      authority.issue({
        commonName: 'system:node:worker-1',
        usages: wanted,
        ...(wanted.includes('server auth') && { ips: ['10.0.0.1'], dnsNames: ['worker-1'] }),
      }),
    ),
  );
}

function requests(): Uint8Array[] {
  return [
    requestFor({ subject: node }),
    requestFor({ subject: node, extensions: [sans] }),
    requestFor({ subject: '/O=ä/O=b/CN=é', extensions: ['keyUsage=digitalSignature'] }),
  ].map(derOf);
}

/** The same key with the labels of kubelets and older tools. */
function otherForms({ der }: { readonly der: Uint8Array }) {
  const key = createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' });
  if (key.asymmetricKeyType === 'ec') {
    return [{ label: 'EC PRIVATE KEY', der: key.export({ format: 'der', type: 'sec1' }) }];
  }
  if (key.asymmetricKeyType !== 'rsa') return [];
  return [{ label: 'RSA PRIVATE KEY', der: key.export({ format: 'der', type: 'pkcs1' }) }];
}
