import { AgentError } from '../core/errors.ts';
import type { KubeconfigDocument } from './kubeconfig-document.ts';
import type { KeyEdit } from './yaml-edit.ts';
import { editYaml } from './yaml-edit.ts';

/**
 * The text of a kubeconfig with other values, and every other byte as before.
 * @throws AgentError KUBECONFIG_UNSUPPORTED if the YAML cannot be edited
 */
export function editKubeconfig(
  { path }: Pick<KubeconfigDocument, 'path'>,
  text: string,
  edits: readonly KeyEdit[],
): string {
  const edited = editYaml(text, edits);
  if (edited === undefined) throw uneditable({ path });
  return edited;
}

export function uneditable({ path }: Pick<KubeconfigDocument, 'path'>): AgentError {
  return new AgentError(
    'KUBECONFIG_UNSUPPORTED',
    `kubeconfig ${path} cannot be edited: it has anchors or tags, or more than one document`,
    { remedy: `Write ${path} without anchors, tags and further documents` },
  );
}
