import { dirname } from 'node:path';
import { hasCode } from '../core/errors.ts';
import { encodeCertificates, scanPem } from '../core/pem.ts';
import { kubeconfigAuthority, withAuthority } from '../kube/kubeconfig-authority.ts';
import { KubeconfigDocument } from '../kube/kubeconfig-document.ts';
import { exists } from '../sys/exists.ts';
import type { Tree } from '../sys/tree.ts';

/** The file to which the embedded CAs of a kubeconfig move. */
export interface ExternalAuthority {
  readonly file: string;
  /** Absent when there is no file. */
  readonly before?: string;
  readonly after: string;
}

/**
 * The kubeconfig that names its CAs in a file, and this file. Undefined if it embeds no CAs, if it
 * cannot be edited, or if the directory of the file does not exist yet, as in an image: then the
 * agent moves the CAs later, or has a finding.
 * @throws AgentError KUBECONFIG_INVALID, CONFIG_UNREADABLE, STORE_*
 */
export async function externalize(
  tree: Tree,
  kubeconfig: { readonly file: string; readonly text: string },
  file: string,
): Promise<{ readonly text: string; readonly authority: ExternalAuthority } | undefined> {
  const document = new KubeconfigDocument(kubeconfig.file, kubeconfig.text);
  const source = kubeconfigAuthority(document);
  if (source?.kind !== 'data' || !(await exists((await tree.locate(dirname(file))).physical))) {
    return undefined;
  }
  const { blocks } = scanPem(source.bytes);
  const certificates = blocks.filter(({ label }) => label === 'CERTIFICATE');
  const after = new TextDecoder().decode(encodeCertificates(certificates));
  const before = await tree.readText(file);
  const text = edited(document, kubeconfig.text, file);
  if (text === undefined) return undefined;
  return { text, authority: { file, after, ...(before !== undefined && { before }) } };
}

function edited(document: KubeconfigDocument, text: string, file: string): string | undefined {
  try {
    return withAuthority(document, text, { file });
  } catch (error) {
    if (hasCode(error, 'KUBECONFIG_UNSUPPORTED')) return undefined;
    throw error;
  }
}
