import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Usage } from '../../src/core/certificate.ts';
import type { Instant } from '../../src/core/instant.ts';
import { day } from '../../src/core/instant.ts';
import { encodePem } from '../../src/core/pem.ts';
import { usageExtensions, webcrypto, x509 } from '../../src/core/x509.ts';
import type { AuthorityName, KubernetesDirectories } from '../../src/pki/layout.ts';
import { authorityFile, fileOf, keyFileOf, kubeadmCertificates } from '../../src/pki/layout.ts';

/** Certificates in the places of kubeadm, with the shape of kubeadm's, made in the test. */

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

export interface Issued {
  readonly pem: string;
  readonly keyPem: string;
}

export interface TestCa extends Issued {
  readonly certificate: x509.X509Certificate;
  readonly key: CryptoKey;
}

export interface Validity {
  readonly notBefore: Instant;
  readonly notAfter: Instant;
}

export async function makeCa(commonName: string, validity: Validity): Promise<TestCa> {
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: `CN=${commonName}`,
      keys,
      ...dates(validity),
      signingAlgorithm: algorithm,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        ...usageExtensions(['digital signature', 'key encipherment', 'cert sign']),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  return { certificate, key: keys.privateKey, ...(await pemOf(certificate, keys)) };
}

export interface LeafSpec extends Validity {
  readonly subject: string;
  readonly usages: readonly Usage[];
  readonly altNames?: readonly { readonly type: 'dns' | 'ip'; readonly value: string }[];
}

export async function makeLeaf(ca: TestCa, spec: LeafSpec): Promise<Issued> {
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.create(
    {
      subject: spec.subject,
      issuer: ca.certificate.subject,
      publicKey: keys.publicKey,
      signingKey: ca.key,
      ...dates(spec),
      signingAlgorithm: algorithm,
      extensions: [
        ...usageExtensions(['digital signature', 'key encipherment', ...spec.usages]),
        new x509.BasicConstraintsExtension(false, undefined, true),
        ...(spec.altNames === undefined
          ? []
          : [new x509.SubjectAlternativeNameExtension([...spec.altNames])]),
      ],
    },
    webcrypto,
  );
  return pemOf(certificate, keys);
}

function dates({ notBefore, notAfter }: Validity): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(notBefore), notAfter: new Date(notAfter) };
}

async function newKeys(): Promise<CryptoKeyPair> {
  return webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
}

async function pemOf(certificate: x509.X509Certificate, keys: CryptoKeyPair): Promise<Issued> {
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  const keyPem = Buffer.from(encodePem('PRIVATE KEY', new Uint8Array(pkcs8))).toString();
  return { pem: `${certificate.toString('pem')}\n`, keyPem };
}

export interface KubeadmTree {
  readonly directories: KubernetesDirectories;
  readonly authorities: Readonly<Record<AuthorityName, TestCa>>;
  /** Issues the certificate of this name again, without writing it. */
  readonly issue: (name: string, validity: Validity) => Promise<Issued>;
}

/** A fresh tree as from `kubeadm init`: leaves of a year, CAs of ten years. */
export async function makeKubeadmTree(root: string, now: Instant): Promise<KubeadmTree> {
  const directories = { kubernetes: root, certificates: join(root, 'pki') };
  const tenYears = { notBefore: now - day, notAfter: now + 3650 * day };
  const authorities = {
    ca: await makeCa('kubernetes', tenYears),
    'etcd-ca': await makeCa('etcd-ca', tenYears),
    'front-proxy-ca': await makeCa('front-proxy-ca', tenYears),
  };
  for (const [name, ca] of Object.entries(authorities)) {
    await writePair(authorityFile(name as AuthorityName, directories), ca);
  }
  const issue: KubeadmTree['issue'] = async (name, validity) => {
    const certificate = kubeadmCertificates.find((known) => known.name === name);
    if (certificate === undefined) throw new Error(`kubeadm has no certificate ${name}`);
    const ca = authorities[certificate.authority];
    const shape = shapes[name] ?? { subject: `CN=${name}`, usages: ['client auth'] };
    return makeLeaf(ca, { ...shape, ...validity });
  };
  for (const certificate of kubeadmCertificates) {
    const leaf = await issue(certificate.name, { notBefore: now - day, notAfter: now + 365 * day });
    const path = fileOf(certificate, directories);
    if (certificate.kind === 'pair') await writePair(path, leaf);
    else await writeFile(path, kubeconfigWith(leaf, authorities.ca.pem), { mode: 0o600 });
  }
  return { directories, authorities, issue };
}

const shapes: Readonly<Record<string, Pick<LeafSpec, 'subject' | 'usages' | 'altNames'>>> = {
  'admin.conf': {
    subject: 'O=kubeadm:cluster-admins,CN=kubernetes-admin',
    usages: ['client auth'],
  },
  'super-admin.conf': {
    subject: 'O=system:masters,CN=kubernetes-super-admin',
    usages: ['client auth'],
  },
  'controller-manager.conf': {
    subject: 'CN=system:kube-controller-manager',
    usages: ['client auth'],
  },
  apiserver: {
    subject: 'CN=kube-apiserver',
    usages: ['server auth'],
    altNames: [
      { type: 'dns', value: 'kubernetes.default.svc' },
      { type: 'ip', value: '10.96.0.1' },
    ],
  },
};

export async function writePair(certificateFile: string, { pem, keyPem }: Issued): Promise<void> {
  await mkdir(dirname(certificateFile), { recursive: true });
  await writeFile(certificateFile, pem);
  await writeFile(keyFileOf(certificateFile), keyPem, { mode: 0o600 });
}

export function kubeconfigWith({ pem, keyPem }: Issued, caPem: string): string {
  return `apiVersion: v1
kind: Config
clusters:
- name: kubernetes
  cluster:
    certificate-authority-data: ${base64(caPem)}
    server: https://10.0.0.1:6443
contexts:
- name: kubernetes-admin@kubernetes
  context:
    cluster: kubernetes
    user: kubernetes-admin
current-context: kubernetes-admin@kubernetes
users:
- name: kubernetes-admin
  user:
    client-certificate-data: ${base64(pem)}
    client-key-data: ${base64(keyPem)}
`;
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
