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
 * Data wins over files, relative paths start at the kubeconfig's folder, an empty
 * value is an absent one: all as client-go's clientcmd has it.
 * @throws AgentError KUBECONFIG_MISSING, KUBECONFIG_INVALID, KUBECONFIG_UNSUPPORTED
 */
export async function loadKubeconfig(path: string): Promise<ClusterAccess> {
  const document = await openKubeconfig(path);
  const { context, at } = currentContext(document);
  const clusterAt = entryAt(document, 'cluster', {
    name: context.cluster,
    at: [...at, 'cluster'],
  });
  const cluster = await clusterOf(document, clusterAt);
  const user = currentUser(document).at;
  const credential = await loadCredential(document, { user, cluster: clusterAt });
  return {
    path,
    cluster,
    credential,
    [Symbol.dispose]: () => {
      credential.token?.wipe();
      credential.clientCertificate?.key.wipe();
    },
  };
}

/** The document alone, without the files it names. @throws AgentError KUBECONFIG_MISSING, KUBECONFIG_INVALID */
export async function openKubeconfig(path: string): Promise<KubeconfigDocument> {
  const text = await readText(path);
  // A power loss can leave a file with its size, and nothing but NUL bytes in it.
  return new KubeconfigDocument(path, /^\0+$/.test(text) ? '' : text);
}

/** The entry of the user of the current context, and where it stands. @throws AgentError KUBECONFIG_INVALID */
export function currentUser(document: KubeconfigDocument): {
  readonly name: string;
  readonly at: KeyPath;
} {
  const { context, at } = currentContext(document);
  const name = context.user;
  return { name, at: entryAt(document, 'user', { name, at: [...at, 'user'] }) };
}

/**
 * The whole text becomes a string, with any token or key that it embeds: the YAML
 * parser works on strings, and strings cannot be wiped. Keys in files of their own
 * (as the kubelet writes them) never do.
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
        remedy: `Put a kubeconfig at ${path} or name another`,
      });
    }
    throw new AgentError('KUBECONFIG_INVALID', `kubeconfig ${path} cannot be read`, {
      cause: error,
      remedy: `Make ${path} a readable UTF-8 file`,
    });
  }
}

/** @throws AgentError KUBECONFIG_INVALID for a document of another kind, or none at all */
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

/** Where the entry of a name is kept. Two of one name are an error, as they are for client-go. */
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
    message: `names ${JSON.stringify(withoutSecrets(wanted.name, 80))}, of which ${list} holds ${found.length}`,
  });
}

async function clusterOf(document: KubeconfigDocument, at: KeyPath): Promise<ClusterEndpoint> {
  const fields = document.read(clusterSchema, at);
  const insecureSkipTlsVerify = fields['insecure-skip-tls-verify'] ?? false;
  const certificateAuthority = await loadAuthority(document, at);
  if (insecureSkipTlsVerify && certificateAuthority !== undefined) {
    throw document.failure('KUBECONFIG_INVALID', [...at, 'insecure-skip-tls-verify'], {
      message: 'is set although a certificate authority is given',
      remedy: 'Remove insecure-skip-tls-verify: the certificate authority is there to be used',
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

/** Without a scheme the address means https, as it does for client-go when TLS is configured. */
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
      message: `has the scheme ${printable(url.protocol, 40)} and would show credentials to the network`,
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
      message: `has the scheme ${printable(url.protocol, 40)}, which is not supported`,
      remedy: 'Use a proxy that speaks http:// or https:// (CONNECT), or remove proxy-url',
    });
  }
  // A CONNECT request has no place for more, and the password of the user is decoded before it is sent.
  if (`${url.pathname}${url.search}${url.hash}` !== '/' || !isDecodable(url)) {
    throw document.failure('KUBECONFIG_INVALID', at, {
      message: 'must have no path, query or fragment, and its user and password no lone %',
    });
  }
  return proxy;
}
