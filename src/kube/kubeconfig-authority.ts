import type { KubeconfigSource } from './kubeconfig-certificates.ts';
import { kubeconfigEntries } from './kubeconfig-certificates.ts';
import type { KubeconfigDocument } from './kubeconfig-document.ts';
import { editKubeconfig } from './kubeconfig-edit.ts';
import { currentCluster } from './kubeconfig.ts';

/**
 * The CAs of the cluster of the current context. Undefined if it has none, so that its users trust
 * the CAs of the machine.
 * @throws AgentError KUBECONFIG_INVALID
 */
export function kubeconfigAuthority(document: KubeconfigDocument): KubeconfigSource | undefined {
  const at = currentCluster(document);
  const { entries } = kubeconfigEntries(document);
  const cluster = entries.find(({ kind, isCurrent }) => kind === 'cluster' && isCurrent);
  if (cluster?.problem === undefined) return cluster?.certificate;
  throw document.failure('KUBECONFIG_INVALID', at, { message: cluster.problem });
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
