import { X509Certificate } from 'node:crypto';
import { hasCode } from '../../core/errors.ts';
import { parsePem } from '../../core/pem.ts';
import { loadKubeconfig } from '../../kube/kubeconfig.ts';
import { readCertificateFile } from '../../pki/inventory/certificate-file.ts';
import type { KubeadmCertificate, KubernetesDirectories } from '../../pki/layout.ts';
import { fileOf, kubeadmCertificates } from '../../pki/layout.ts';

/** A certificate of a component or an administrator that the kubernetes CA issues. */
export interface ComponentLeaf {
  /** As in kubeadm: `apiserver`, `admin.conf`. */
  readonly name: string;
  readonly path: string;
  /** Absent if the file is unreadable. */
  readonly certificate?: X509Certificate;
}

/** Those that exist. Only the first control-plane node has super-admin.conf. */
export async function componentLeaves(
  directories: KubernetesDirectories,
): Promise<ComponentLeaf[]> {
  const issued = kubeadmCertificates.filter(({ authority }) => authority === 'ca');
  const found = issued.map(async ({ name, ...certificate }): Promise<ComponentLeaf[]> => {
    const path = fileOf(certificate, directories);
    const leaf = await leafIn(certificate.kind, path);
    if (leaf === 'missing') return [];
    return [{ name, path, ...(leaf !== 'unreadable' && { certificate: leaf }) }];
  });
  return (await Promise.all(found)).flat();
}

type FoundLeaf = X509Certificate | 'unreadable' | 'missing';

async function leafIn(kind: KubeadmCertificate['kind'], path: string): Promise<FoundLeaf> {
  if (kind === 'kubeconfig') return leafInKubeconfig(path);
  const reading = readCertificateFile(path);
  if (reading.kind !== 'read') return reading.kind;
  const [leaf] = reading.certificates;
  return (leaf && certificateIn(leaf.der)) ?? 'unreadable';
}

/** Undefined for a certificate that OpenSSL cannot parse. */
export function certificateIn(der: Uint8Array): X509Certificate | undefined {
  try {
    return new X509Certificate(der);
  } catch {
    return undefined;
  }
}

async function leafInKubeconfig(path: string): Promise<FoundLeaf> {
  try {
    using access = await loadKubeconfig(path);
    const { clientCertificate } = access.credential;
    const [leaf] = clientCertificate === undefined ? [] : parsePem(clientCertificate.pem);
    return leaf === undefined ? 'missing' : new X509Certificate(leaf.der);
  } catch (error) {
    return hasCode(error, 'KUBECONFIG_MISSING') ? 'missing' : 'unreadable';
  }
}
