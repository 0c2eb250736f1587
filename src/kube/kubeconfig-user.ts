import { dirname, resolve } from 'node:path';
import * as v from 'valibot';
import { currentUser, openKubeconfig } from './kubeconfig.ts';

/** How a kubeconfig's current user is said to authenticate: the names, not what is behind them. */
export interface KubeconfigUser {
  /** As `kubectl config set-credentials` takes it. */
  readonly name: string;
  /** The certificate stands in the kubeconfig itself, where no rotation can reach it. */
  readonly embedsCertificate: boolean;
  /** Absolute. */
  readonly certificateFile?: string;
  readonly keyFile?: string;
  /** A token, a key or both stand in the kubeconfig: whoever reads it is this user. */
  readonly holdsSecret: boolean;
}

const text = v.nullish(v.string());

const userSchema = v.object({
  token: text,
  'client-certificate': text,
  'client-certificate-data': text,
  'client-key': text,
  'client-key-data': text,
});

/** @throws AgentError KUBECONFIG_MISSING, KUBECONFIG_INVALID */
export async function readKubeconfigUser(path: string): Promise<KubeconfigUser> {
  const document = await openKubeconfig(path);
  const { name, at } = currentUser(document);
  const fields = document.read(userSchema, at);
  const fileOf = (named: string | null | undefined): string | undefined =>
    named ? resolve(dirname(path), named) : undefined;
  const certificateFile = fileOf(fields['client-certificate']);
  const keyFile = fileOf(fields['client-key']);
  return {
    name,
    embedsCertificate: Boolean(fields['client-certificate-data']),
    holdsSecret: Boolean(fields.token) || Boolean(fields['client-key-data']),
    ...(certificateFile !== undefined && { certificateFile }),
    ...(keyFile !== undefined && { keyFile }),
  };
}
