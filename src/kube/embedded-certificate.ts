import { dirname, resolve } from 'node:path';
import * as v from 'valibot';
import { concat, encodeBase64 } from '../core/pem.ts';
import { Secret } from '../core/secret.ts';
import type { KeyPath, KubeconfigDocument } from './kubeconfig-document.ts';
import { editKubeconfig, uneditable } from './kubeconfig-edit.ts';
import { currentCluster, currentUser } from './kubeconfig.ts';

/** The client certificate of the current context, and the CAs of its cluster. */
export interface KubeconfigCertificate {
  readonly source:
    | { readonly kind: 'embedded'; readonly certificate: Uint8Array; readonly key: Secret }
    /** Both may be the same file. */
    | { readonly kind: 'files'; readonly certificateFile: string; readonly keyFile: string };
  /** The embedded CAs in PEM; absent if the cluster names a file, or trusts the CAs of the machine. */
  readonly authority?: Uint8Array;
}

const text = v.nullish(v.string());

const userSchema = v.object({
  'client-certificate': text,
  'client-certificate-data': text,
  'client-key': text,
  'client-key-data': text,
});

const clusterSchema = v.object({ 'certificate-authority-data': text });

/** The caller wipes the key. @throws AgentError KUBECONFIG_INVALID, KUBECONFIG_UNSUPPORTED */
export function kubeconfigCertificate(document: KubeconfigDocument): KubeconfigCertificate {
  const { at } = currentUser(document);
  const clusterAt = currentCluster(document);
  const user = document.read(userSchema, at);
  const data = document.read(clusterSchema, clusterAt)['certificate-authority-data'];
  const authorityAt = [...clusterAt, 'certificate-authority-data'];
  return {
    source: sourceOf(document, at, user),
    ...(data && { authority: decoded(document, authorityAt, data) }),
  };
}

/** As in client-go, data takes precedence over files. */
function sourceOf(
  document: KubeconfigDocument,
  at: KeyPath,
  user: v.InferOutput<typeof userSchema>,
): KubeconfigCertificate['source'] {
  const certificate = user['client-certificate-data'];
  const key = user['client-key-data'];
  if (certificate && key) {
    return {
      kind: 'embedded',
      certificate: decoded(document, [...at, 'client-certificate-data'], certificate),
      key: new Secret(decoded(document, [...at, 'client-key-data'], key)),
    };
  }
  const [certificateFile, keyFile] = [user['client-certificate'], user['client-key']];
  if (!certificate && !key && certificateFile && keyFile) {
    const fileOf = (named: string): string => resolve(dirname(document.path), named);
    return {
      kind: 'files',
      certificateFile: fileOf(certificateFile),
      keyFile: fileOf(keyFile),
    };
  }
  throw document.failure('KUBECONFIG_UNSUPPORTED', at, {
    message: 'must embed a client certificate and its key, or name the files of both',
    remedy: `Set client-certificate-data and client-key-data in ${document.path}, or renew the other certificates by name`,
  });
}

function decoded(document: KubeconfigDocument, at: KeyPath, data: string): Uint8Array<ArrayBuffer> {
  try {
    return Uint8Array.fromBase64(data);
  } catch {
    throw document.failure('KUBECONFIG_INVALID', at, { message: 'is not base64' });
  }
}

export interface EmbeddedReplacement {
  readonly certificate: Uint8Array;
  readonly key: Secret;
  /** Absent to keep the CAs. */
  readonly authority?: Uint8Array;
}

/** Stands for the key while the text is a string, which cannot be wiped. */
const placeholder = 'bm9kZWNlcnRkLW5ldy1rZXk=';

/**
 * The kubeconfig with other values for certificate, key and CAs of the current context, and every
 * other byte as before. The caller wipes it.
 * @throws AgentError KUBECONFIG_UNSUPPORTED if the YAML cannot be edited
 */
export function withEmbedded(
  document: KubeconfigDocument,
  before: string,
  { certificate, key, authority }: EmbeddedReplacement,
): Secret {
  const { at } = currentUser(document);
  const edits = [
    { path: [...at, 'client-certificate-data'], value: base64Text(certificate) },
    { path: [...at, 'client-key-data'], value: placeholder },
  ];
  if (authority !== undefined) {
    const path = [...currentCluster(document), 'certificate-authority-data'];
    edits.push({ path, value: base64Text(authority) });
  }
  if (before.includes(placeholder)) throw uneditable(document);
  const edited = editKubeconfig(document, before, edits);
  const [head = '', tail = ''] = edited.split(placeholder);
  const encodedKey = encodeBase64(key.expose());
  try {
    return new Secret(concat([Buffer.from(head), encodedKey, Buffer.from(tail)]));
  } finally {
    encodedKey.fill(0);
  }
}

function base64Text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}
