import { dirname, resolve } from 'node:path';
import * as v from 'valibot';
import type { Failure } from '../core/errors.ts';
import { AgentError, toFailure } from '../core/errors.ts';
import type { KeyPath } from '../kube/kubeconfig-document.ts';
import { KubeconfigDocument } from '../kube/kubeconfig-document.ts';
import { currentUser } from '../kube/kubeconfig.ts';
import type { Tree } from './tree.ts';

/** The kubeconfig of a kubelet, as far as its user is concerned. */
export type KubeconfigFacts =
  | { readonly kind: 'missing'; readonly file: string }
  | { readonly kind: 'invalid'; readonly file: string; readonly failure: Failure }
  | ({ readonly kind: 'read'; readonly file: string } & KubeconfigContent);

export interface KubeconfigContent {
  /** Holds whatever the file holds: keys and tokens too. */
  readonly text: string;
  /** Where the entry of the user stands. */
  readonly at: KeyPath;
  /** How the user authenticates, in words. */
  readonly found: string;
  /** The client certificate, named or embedded; false for tokens, plug-ins and the like alone. */
  readonly hasCertificate: boolean;
  /** Certificate and key are both taken from the link to the pair that is kept. */
  readonly follows: boolean;
}

const text = v.nullish(v.string());

const userSchema = v.object({
  'client-certificate': text,
  'client-certificate-data': text,
  'client-key': text,
  'client-key-data': text,
});

/** @throws AgentError STORE_PERMISSIONS, STORE_IO, CONFIG_UNREADABLE */
export async function readKubeconfigFacts(
  tree: Tree,
  { file, link }: { readonly file: string; readonly link: string | undefined },
): Promise<KubeconfigFacts> {
  const content = await tree.readText(file);
  if (content === undefined) return { kind: 'missing', file };
  try {
    const document = new KubeconfigDocument(file, content);
    const { at } = currentUser(document);
    const user = document.read(userSchema, at);
    const named = (path: string | null | undefined): string | undefined =>
      path ? resolve(dirname(file), path) : undefined;
    const certificate = named(user['client-certificate']);
    const key = named(user['client-key']);
    const embedded = Boolean(user['client-certificate-data'] ?? user['client-key-data']);
    const follows =
      !embedded && link !== undefined && (await leadThrough(tree, [certificate, key], link));
    return {
      kind: 'read',
      file,
      text: content,
      at,
      found: embedded ? 'embeds its certificate' : `names ${certificate ?? 'no certificate'}`,
      hasCertificate: embedded || certificate !== undefined,
      follows,
    };
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    return { kind: 'invalid', file, failure: toFailure(error) };
  }
}

async function leadThrough(
  tree: Tree,
  files: readonly (string | undefined)[],
  link: string,
): Promise<boolean> {
  for (const file of files) {
    if (file === undefined || !(await tree.leadsThrough(file, link))) return false;
  }
  return true;
}
