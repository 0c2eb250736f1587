import type { KubeconfigSource } from './kubeconfig-certificates.ts';
import { kubeconfigEntries } from './kubeconfig-certificates.ts';
import type { KubeconfigDocument } from './kubeconfig-document.ts';
import { editKubeconfig } from './kubeconfig-edit.ts';
import { currentCluster } from './kubeconfig.ts';

/**
 * The CAs of the cluster of the current context.
 * @throws AgentError KUBECONFIG_INVALID, and KUBECONFIG_UNSUPPORTED without CAs
 */
export function kubeconfigAuthority(document: KubeconfigDocument): KubeconfigSource {
  const at = currentCluster(document);
  const { entries } = kubeconfigEntries(document);
  const cluster = entries.find(({ kind, isCurrent }) => kind === 'cluster' && isCurrent);
  if (cluster?.problem !== undefined) {
    throw document.failure('KUBECONFIG_INVALID', at, { message: cluster.problem });
  }
  if (cluster?.certificate !== undefined) return cluster.certificate;
  throw document.failure('KUBECONFIG_UNSUPPORTED', at, {
    message: 'has no certificate authority, so its users trust the CAs of the machine',
    remedy: `Set certificate-authority in ${document.path} to a file with the CAs of the cluster`,
  });
}

/**
 * The text of the kubeconfig with other CAs, and every other byte as before.
 * @throws AgentError KUBECONFIG_INVALID, KUBECONFIG_UNSUPPORTED
 */
export function withAuthority(
  document: KubeconfigDocument,
  text: string,
  authority: { readonly pem: Uint8Array } | { readonly file: string },
): string {
  const at = currentCluster(document);
  const dataAt = [...at, 'certificate-authority-data'];
  const edits =
    'pem' in authority
      ? [{ path: dataAt, value: Buffer.from(authority.pem).toString('base64') }]
      : [{ path: [...at, 'certificate-authority'], value: authority.file }, { path: dataAt }];
  return editKubeconfig(document, text, edits);
}
