import * as v from 'valibot';
import { AgentError, hasErrno } from '../core/errors.ts';
import { printable, withoutSecrets } from '../core/printable.ts';
import type { ClusterAccess, ClusterEndpoint } from './cluster-access.ts';
import { loadCredential } from './kubeconfig-credential.ts';
import type { KeyPath } from './kubeconfig-document.ts';
import { KubeconfigDocument } from './kubeconfig-document.ts';
import { fileLimit, loadAuthority } from './kubeconfig-material.ts';
import { isDecodable } from './proxy.ts';
import { readSmallFile } from '../sys/small-file.ts';

/**
 * Loads the current context of a kubeconfig, with the files it names.
 *
 * As in client-go's clientcmd, data takes precedence over files, relative paths start
 * at the folder of the kubeconfig, and an empty value counts as absent.
 * @throws AgentError KUBECONFIG_MISSING, KUBECONFIG_INVALID, KUBECONFIG_UNSUPPORTED
 */
export async function loadKubeconfig(path: string): Promise<ClusterAccess> {
  return loadDocument(await openKubeconfig(path));
}

/** The same for a kubeconfig that is already parsed. @throws AgentError KUBECONFIG_INVALID, KUBECONFIG_UNSUPPORTED */
export async function loadDocument(document: KubeconfigDocument): Promise<ClusterAccess> {
  const clusterAt = currentCluster(document);
  const cluster = await loadCluster(document, clusterAt);
  const user = currentUser(document).at;
  const credential = await loadCredential(document, { user, cluster: clusterAt });
  return {
    path: document.path,
    cluster,
    credential,
    [Symbol.dispose]: () => {
      credential.token?.wipe();
      credential.clientCertificate?.key.wipe();
    },
  };
}

/** Reads the document without the files it names. @throws AgentError KUBECONFIG_MISSING, KUBECONFIG_INVALID */
export async function openKubeconfig(path: string): Promise<KubeconfigDocument> {
  const text = await readText(path);
  // A power loss can leave a file of the right size that contains only NUL bytes.
  return new KubeconfigDocument(path, /^\0+$/.test(text) ? '' : text);
}

/** The user of the current context, and the place of its entry. @throws AgentError KUBECONFIG_INVALID */
export function currentUser(document: KubeconfigDocument): {
  readonly name: string;
  readonly at: KeyPath;
} {
  const { context, at } = currentContext(document);
  const name = context.user;
  return { name, at: entryAt(document, 'user', { name, at: [...at, 'user'] }) };
}

/** The place of the cluster of the current context. @throws AgentError KUBECONFIG_INVALID */
export function currentCluster(document: KubeconfigDocument): KeyPath {
  const { context, at } = currentContext(document);
  return entryAt(document, 'cluster', { name: context.cluster, at: [...at, 'cluster'] });
}

/**
 * The YAML parser needs a string, and strings cannot be wiped, so a token or key that
 * the kubeconfig embeds stays in memory. A key in a file of its own, as the kubelet
 * writes it, never becomes a string.
 */
async function readText(path: string): Promise<string> {
  try {
    const bytes = await readSmallFile(path, fileLimit);
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } finally {
      bytes.fill(0);
    }
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) {
      throw new AgentError('KUBECONFIG_MISSING', `kubeconfig ${path} does not exist`, {
        cause: error,
        remedy: `Write a kubeconfig to ${path}, or configure the path of another kubeconfig`,
      });
    }
    throw new AgentError('KUBECONFIG_INVALID', `kubeconfig ${path} cannot be read`, {
      cause: error,
      remedy: `Make ${path} a readable UTF-8 file`,
    });
  }
}

/** @throws AgentError KUBECONFIG_INVALID for a document of another kind, or an empty one */
function requireKind(document: KubeconfigDocument): void {
  const { path, isEmpty } = document;
  if (isEmpty) {
    throw new AgentError('KUBECONFIG_INVALID', `kubeconfig ${path} is empty`, {
      remedy: `Write a kubeconfig to ${path}`,
    });
  }
  const { kind, apiVersion } = document.read(kindSchema, []);
  if (!kind || kind === 'Config') return;
  const version = apiVersion ? ` (${withoutSecrets(apiVersion, 80)})` : '';
  const message = `${path} is a ${withoutSecrets(kind, 80)}${version}, not a kubeconfig`;
  throw new AgentError('KUBECONFIG_INVALID', message, {
    remedy:
      'Set kubeconfig (--kubeconfig) or bootstrapKubeconfig (--bootstrap-kubeconfig) to the path of a kubeconfig',
  });
}

const text = v.nullish(v.string());
const kinds = { cluster: 'clusters', context: 'contexts', user: 'users' } as const;

const kindSchema = v.object({ kind: text, apiVersion: text });

const fileSchema = v.object({
  'current-context': v.pipe(v.string(), v.nonEmpty()),
});

const contextSchema = v.object({ cluster: v.string(), user: v.string() });

const clusterSchema = v.object({
  server: v.pipe(v.string(), v.nonEmpty()),
  'certificate-authority': text,
  'certificate-authority-data': text,
  'tls-server-name': text,
  'proxy-url': text,
  'insecure-skip-tls-verify': v.nullish(v.boolean()),
});

function currentContext(document: KubeconfigDocument): {
  context: v.InferOutput<typeof contextSchema>;
  at: KeyPath;
} {
  requireKind(document);
  const file = document.read(fileSchema, []);
  const at = entryAt(document, 'context', {
    name: file['current-context'],
    at: ['current-context'],
  });
  return { context: document.read(contextSchema, at), at };
}

/** The place of the entry with this name. Two entries with the same name are an error, as in client-go. */
function entryAt(
  document: KubeconfigDocument,
  kind: keyof typeof kinds,
  wanted: { readonly name: string; readonly at: KeyPath },
): KeyPath {
  const list = kinds[kind];
  const names = document.read(v.nullish(v.array(v.looseObject({ name: v.string() })), []), [list]);
  const found = (names ?? []).flatMap(({ name }, index) => (name === wanted.name ? [index] : []));
  const [index] = found;
  if (index !== undefined && found.length === 1) return [list, index, kind];
  throw document.failure('KUBECONFIG_INVALID', wanted.at, {
    message: `names ${JSON.stringify(withoutSecrets(wanted.name, 80))}, but ${list} has ${found.length} entries with that name`,
  });
}

/** A cluster with its CAs. @throws AgentError KUBECONFIG_INVALID, KUBECONFIG_UNSUPPORTED */
export async function loadCluster(
  document: KubeconfigDocument,
  at: KeyPath,
): Promise<ClusterEndpoint> {
  const fields = document.read(clusterSchema, at);
  const insecureSkipTlsVerify = fields['insecure-skip-tls-verify'] ?? false;
  const certificateAuthority = await loadAuthority(document, at);
  if (insecureSkipTlsVerify && certificateAuthority !== undefined) {
    throw document.failure('KUBECONFIG_INVALID', [...at, 'insecure-skip-tls-verify'], {
      message: 'is true although the cluster has a certificate authority',
      remedy: 'Remove insecure-skip-tls-verify, or remove the certificate authority',
    });
  }
  return {
    server: serverOf(document, [...at, 'server']),
    insecureSkipTlsVerify,
    ...(certificateAuthority !== undefined && { certificateAuthority }),
    ...(fields['tls-server-name'] && { tlsServerName: fields['tls-server-name'] }),
    ...(fields['proxy-url'] && { proxyUrl: proxyOf(document, [...at, 'proxy-url']) }),
  };
}

/** An address without a scheme uses https, as in client-go when TLS is configured. */
function serverOf(document: KubeconfigDocument, at: KeyPath): string {
  const server = document.read(v.string(), at);
  const url = URL.parse(server.includes('://') ? server : `https://${server}`);
  if (url === null || url.hostname === '' || url.username !== '' || url.search || url.hash) {
    throw document.failure('KUBECONFIG_INVALID', at, {
      message: 'must be a URL such as https://10.0.0.1:6443, without user, query or fragment',
    });
  }
  if (url.protocol !== 'https:') {
    throw document.failure('KUBECONFIG_UNSUPPORTED', at, {
      message: `has the scheme ${printable(url.protocol, 40)}, which would send the credential unencrypted`,
      remedy: 'Use the https:// address of the API server',
    });
  }
  return url.href.replace(/\/+$/, '');
}

function proxyOf(document: KubeconfigDocument, at: KeyPath): string {
  const proxy = document.read(v.string(), at);
  const url = URL.parse(proxy);
  if (url === null || url.hostname === '') {
    throw document.failure('KUBECONFIG_INVALID', at, {
      message: 'must be a URL such as http://proxy.example.com:3128',
    });
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw document.failure('KUBECONFIG_UNSUPPORTED', at, {
      message: `has the scheme ${printable(url.protocol, 40)}, which nodecertd does not support`,
      remedy: 'Use an http:// or https:// proxy that allows CONNECT, or remove proxy-url',
    });
  }
  // A CONNECT request cannot carry a path, and the password is decoded before it is sent.
  if (`${url.pathname}${url.search}${url.hash}` !== '/' || !isDecodable(url)) {
    throw document.failure('KUBECONFIG_INVALID', at, {
      message:
        'must have no path, query or fragment, and each % in user or password must begin an escape such as %40',
    });
  }
  return proxy;
}
