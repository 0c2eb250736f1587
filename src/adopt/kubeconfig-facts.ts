import type { Failure } from '../core/errors.ts';
import { AgentError, toFailure } from '../core/errors.ts';
import type { ExternalAuthority } from './external-authority.ts';
import { externalize } from './external-authority.ts';
import { followsLink } from '../doctor/kubeconfig-state.ts';
import type { Instant } from '../core/instant.ts';
import { credentialValidity } from '../kube/credential-validity.ts';
import { KubeconfigDocument } from '../kube/kubeconfig-document.ts';
import { kubeconfigUser } from '../kube/kubeconfig-user.ts';
import { currentUser, loadDocument } from '../kube/kubeconfig.ts';
import { tlsContext } from '../kube/tls-context.ts';
import type { Tree } from '../sys/tree.ts';
import type { KeyPath } from '../kube/yaml-edit.ts';
import { editYaml } from '../kube/yaml-edit.ts';

/** The kubeconfig of the kubelet, before and after the adoption. */
export type KubeconfigFacts =
  | { readonly kind: 'missing'; readonly file: string }
  | { readonly kind: 'invalid'; readonly file: string; readonly failure: Failure }
  | ({ readonly kind: 'read'; readonly file: string } & KubeconfigContent);

export interface KubeconfigContent {
  /** Contains the keys and tokens of the file. */
  readonly text: string;
  /** The certificate of the user, as the end of a sentence about the file. */
  readonly found: string;
  /**
   * True if the user names or embeds a client certificate; false for a user with only a token or
   * a plugin.
   */
  readonly hasCertificate: boolean;
  /** True if certificate and key are both the `-current.pem` link. */
  readonly follows: boolean;
  /** The text in which both are the link; absent when the file cannot be edited. */
  readonly adopted?: string;
  /** The file to which the embedded CAs move; `adopted` names it. */
  readonly authority?: ExternalAuthority;
  /** Why nodecertd cannot use the adopted text itself. */
  readonly failure?: Failure;
}

/**
 * @param link the `-current.pem` link of the client certificate, if nodecertd keeps it
 * @param authorityFile the file to which embedded CAs have to move, if they have to
 * @throws AgentError STORE_PERMISSIONS, STORE_IO, CONFIG_UNREADABLE
 */
export async function readKubeconfigFacts(
  tree: Tree,
  {
    file,
    link,
    authorityFile,
  }: {
    readonly file: string;
    readonly link: string | undefined;
    readonly authorityFile: string | undefined;
  },
): Promise<KubeconfigFacts> {
  const text = await tree.readText(file);
  if (text === undefined) return { kind: 'missing', file };
  try {
    const document = new KubeconfigDocument(file, text);
    const user = kubeconfigUser(document);
    const hasCertificate = user.embedsCertificate || user.certificateFile !== undefined;
    const follows = link !== undefined && (await followsLink(user, link, tree));
    const needsNoEdit = link === undefined || follows || !hasCertificate;
    const linked = needsNoEdit ? text : namingLink(text, currentUser(document).at, link);
    // The file of the CAs does not exist yet, so the check loads the text that embeds them.
    const loaded = linked === undefined ? {} : await loadText(tree, { file, text: linked });
    const moved =
      linked === undefined || authorityFile === undefined || loaded.failure !== undefined
        ? undefined
        : await externalize(tree, { file, text: linked }, authorityFile);
    const adopted = moved?.text ?? linked;
    return {
      kind: 'read',
      file,
      text,
      found: user.embedsCertificate
        ? 'embeds its certificate'
        : `names ${user.certificateFile ?? 'no certificate'}`,
      hasCertificate,
      follows,
      ...(adopted !== undefined && { adopted }),
      ...(moved !== undefined && { authority: moved.authority }),
      ...(loaded.failure && { failure: loaded.failure }),
    };
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    return { kind: 'invalid', file, failure: toFailure(error) };
  }
}

function namingLink(text: string, at: KeyPath, link: string): string | undefined {
  return editYaml(text, [
    { path: [...at, 'client-certificate'], value: link },
    { path: [...at, 'client-key'], value: link },
    { path: [...at, 'client-certificate-data'] },
    { path: [...at, 'client-key-data'] },
  ]);
}

/** Loads a kubeconfig like the agent, and returns the expiry of its certificate, or the failure. */
export async function loadText(
  tree: Tree,
  { file, text }: { readonly file: string; readonly text: string },
): Promise<{ readonly expiresAt?: Instant | undefined; readonly failure?: Failure }> {
  const locate = async (path: string): Promise<string> => (await tree.locate(path)).physical;
  try {
    using access = await loadDocument(new KubeconfigDocument(file, text, locate));
    tlsContext(access);
    return { expiresAt: credentialValidity(access)?.notAfter };
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    return { failure: toFailure(error) };
  }
}
