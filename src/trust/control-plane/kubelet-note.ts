import { kubeconfigAuthority } from '../../kube/kubeconfig-authority.ts';
import { KubeconfigDocument } from '../../kube/kubeconfig-document.ts';
import { haveSameKey, readCertificatesOf } from '../../pki/renewal/certificate-chain.ts';
import { readContent } from '../../store/file-content.ts';
import type { RolloverNode } from './node-files.ts';

/**
 * The agent keeps the CAs of the kubelet. If its kubeconfig still lacks the new CA, this says what
 * adds it.
 */
export async function kubeletNote(node: RolloverNode): Promise<string[]> {
  const path = node.kubelet?.kubeconfig;
  if (path === undefined || (await hasNext(node, path))) return [];
  return [
    `${path} lacks the new CA. After this step the agent adds it if trust.enabled is true in its configuration; to add it at once, run: nodecertd trust sync`,
  ];
}

async function hasNext({ tree, next }: RolloverNode, path: string): Promise<boolean> {
  const text = await tree.readText(path);
  // A kubelet that bootstraps has no kubeconfig yet.
  if (text === undefined) return true;
  const source = kubeconfigAuthority(new KubeconfigDocument(path, text));
  if (source === undefined) return true;
  const pem =
    source.kind === 'data'
      ? source.bytes
      : (await readContent((await tree.locate(source.path)).physical))?.bytes;
  const certificates = await readCertificatesOf(path, pem ?? new Uint8Array());
  return certificates.some((one) => haveSameKey(one, next.certificate));
}
