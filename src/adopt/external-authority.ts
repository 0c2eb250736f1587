import { encodeCertificates, scanPem } from '../core/pem.ts';
import { kubeconfigAuthority, withAuthority } from '../kube/kubeconfig-authority.ts';
import { KubeconfigDocument } from '../kube/kubeconfig-document.ts';
import type { Tree } from '../sys/tree.ts';

/** The file to which the embedded CAs of a kubeconfig move. */
export interface ExternalAuthority {
  readonly file: string;
  /** Absent when there is no file. */
  readonly before?: string;
  readonly after: string;
}

/**
 * The kubeconfig that names its CAs in a file, and this file. Undefined if it embeds no CAs.
 * @throws AgentError KUBECONFIG_INVALID, KUBECONFIG_UNSUPPORTED, CONFIG_UNREADABLE, STORE_*
 */
export async function externalize(
  tree: Tree,
  kubeconfig: { readonly file: string; readonly text: string },
  file: string,
): Promise<{ readonly text: string; readonly authority: ExternalAuthority } | undefined> {
  const document = new KubeconfigDocument(kubeconfig.file, kubeconfig.text);
  const source = kubeconfigAuthority(document);
  if (source?.kind !== 'data') return undefined;
  const { blocks } = scanPem(source.bytes);
  const certificates = blocks.filter(({ label }) => label === 'CERTIFICATE');
  const after = new TextDecoder().decode(encodeCertificates(certificates));
  const before = await tree.readText(file);
  const text = withAuthority(document, kubeconfig.text, { file });
  return { text, authority: { file, after, ...(before !== undefined && { before }) } };
}
