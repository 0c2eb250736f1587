import { dirname, resolve } from 'node:path';
import * as v from 'valibot';
import { withoutSecrets } from '../core/printable.ts';
import type { KubeconfigDocument } from './kubeconfig-document.ts';
import { currentUser, openKubeconfig } from './kubeconfig.ts';

/** The authentication of the current user of a kubeconfig, without reading the files that it names. */
export interface KubeconfigUser {
  /** The name for `kubectl config set-credentials`. */
  readonly name: string;
  /** The kubeconfig embeds the certificate, so a rotation cannot replace it. */
  readonly embedsCertificate: boolean;
  /** Absolute. */
  readonly certificateFile?: string;
  readonly keyFile?: string;
  /** The kubeconfig embeds a token or a key, so anyone who can read the file can act as this user. */
  readonly holdsSecret: boolean;
  /** The exec plugin, if it is the only credential. */
  readonly plugin?: string;
}

const text = v.nullish(v.string());

const userSchema = v.object({
  token: text,
  'client-certificate': text,
  'client-certificate-data': text,
  'client-key': text,
  'client-key-data': text,
  tokenFile: text,
  exec: v.optional(v.unknown()),
});

/** @throws AgentError KUBECONFIG_MISSING, KUBECONFIG_INVALID */
export async function readKubeconfigUser(path: string): Promise<KubeconfigUser> {
  return kubeconfigUser(await openKubeconfig(path));
}

/** The same for a kubeconfig that is already parsed. @throws AgentError KUBECONFIG_INVALID */
export function kubeconfigUser(document: KubeconfigDocument): KubeconfigUser {
  const { name, at } = currentUser(document);
  const fields = document.read(userSchema, at);
  const fileOf = (named: string | null | undefined): string | undefined =>
    named ? resolve(dirname(document.path), named) : undefined;
  const certificateFile = fileOf(fields['client-certificate']);
  const keyFile = fileOf(fields['client-key']);
  const embedsCertificate = Boolean(fields['client-certificate-data']);
  const hasToken = Boolean(fields.token) || Boolean(fields.tokenFile);
  const hasOther = hasToken || embedsCertificate || certificateFile !== undefined;
  const exec = v.safeParse(v.object({ command: v.string() }), fields.exec);
  const plugin = exec.success && !hasOther ? exec.output.command : undefined;
  return {
    name,
    embedsCertificate,
    holdsSecret: Boolean(fields.token) || Boolean(fields['client-key-data']),
    ...(certificateFile !== undefined && { certificateFile }),
    ...(keyFile !== undefined && { keyFile }),
    ...(plugin && { plugin: withoutSecrets(plugin, 80) }),
  };
}
