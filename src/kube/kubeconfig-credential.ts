import { dirname, resolve } from 'node:path';
import * as v from 'valibot';
import { Secret } from '../core/secret.ts';
import type { Credential } from './cluster-access.ts';
import { readImpersonation } from './impersonation.ts';
import type { KeyPath, KubeconfigDocument } from './kubeconfig-document.ts';
import { readExecPlugin } from './kubeconfig-exec.ts';
import { loadClientCertificate } from './kubeconfig-material.ts';

/**
 * Loads the credential and the impersonated identity of a user entry. Rejects unknown keys:
 * if nodecertd ignored a key, its requests could have other permissions than the file says.
 * @throws AgentError KUBECONFIG_INVALID, KUBECONFIG_UNSUPPORTED
 */
export async function loadCredential(
  document: KubeconfigDocument,
  places: { readonly user: KeyPath; readonly cluster: KeyPath },
): Promise<Credential> {
  const at = places.user;
  const fields = document.read(tokenSchema, at);
  refuseUnsupported(document, at);
  const impersonation = readImpersonation(document, at);
  const plugin = readExecPlugin(document, places);
  const clientCertificate = await loadClientCertificate(document, at);
  return {
    ...(fields.token && { token: new Secret(new TextEncoder().encode(fields.token)) }),
    ...(fields.tokenFile && { tokenFile: resolve(dirname(document.path), fields.tokenFile) }),
    ...(clientCertificate !== undefined && { clientCertificate }),
    ...(plugin !== undefined && { plugin }),
    ...(impersonation !== undefined && { impersonation }),
  };
}

const text = v.nullish(v.string());
const tokenSchema = v.object({ token: text, tokenFile: text });

const used = new Set([
  'token',
  'tokenFile',
  'client-certificate',
  'client-certificate-data',
  'client-key',
  'client-key-data',
  'exec',
  'as',
  'as-uid',
  'as-groups',
  'as-user-extra',
  // Data of other programs, which client-go ignores too.
  'extensions',
]);

/** Authentication methods of client-go that this program does not support. */
const unsupported = new Set(['auth-provider', 'username', 'password']);

function refuseUnsupported(document: KubeconfigDocument, at: KeyPath): void {
  const key = document.otherKey(at, used);
  if (key === undefined || !unsupported.has(key)) return document.refuseOtherKeys(at, used);
  throw document.failure('KUBECONFIG_UNSUPPORTED', [...at, key], {
    message: 'is an authentication method that nodecertd does not support',
    remedy: `Replace ${key} with token, tokenFile, exec, or client-certificate with client-key`,
  });
}
