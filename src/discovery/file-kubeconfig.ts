import { dirname, resolve } from 'node:path';
import * as v from 'valibot';
import { AgentError } from '../core/errors.ts';
import { Secret } from '../core/secret.ts';
import type { ClusterEndpoint } from '../kube/cluster-access.ts';
import { loadCluster } from '../kube/kubeconfig.ts';
import { loadCredential } from '../kube/kubeconfig-credential.ts';
import type { KeyPath } from '../kube/kubeconfig-document.ts';
import { KubeconfigDocument } from '../kube/kubeconfig-document.ts';
import { fileLimit } from '../kube/kubeconfig-material.ts';
import type { BootstrapCredential } from '../store/kubeconfig-text.ts';
import { readSmallFile } from '../sys/small-file.ts';
import type { DiscoveryFile } from './discovery-file.ts';

/** The cluster of the file, and the place of its user. */
export interface FileKubeconfig {
  readonly document: KubeconfigDocument;
  readonly cluster: ClusterEndpoint;
  readonly clusterAt: KeyPath;
  /** Undefined if the file names none, as cluster-info does. */
  readonly userAt: KeyPath | undefined;
}

const text = v.nullish(v.string(), '');
const namesSchema = v.nullish(v.array(v.looseObject({ name: text })), []);
const contextSchema = v.object({ cluster: text, user: text });

/**
 * The cluster that kubeadm would use (util/kubeconfig GetClusterFromKubeConfig): the cluster with
 * an empty name, as in the kubeconfig of cluster-info, or the cluster of the current context.
 * @param isLocal a file of this machine, whose relative paths begin at its folder
 * @throws AgentError KUBECONFIG_INVALID, KUBECONFIG_UNSUPPORTED
 */
export async function readFileKubeconfig(
  { name, text: content }: DiscoveryFile,
  isLocal: boolean,
): Promise<FileKubeconfig> {
  const document = new KubeconfigDocument(name, content);
  const context = contextOf(document);
  const clusterAt = clusterPlace(document, context?.cluster);
  const userAt = placeOf(document, 'user', context?.user ?? '');
  if (!isLocal) refuseFiles(document, [clusterAt, ...(userAt === undefined ? [] : [userAt])]);
  const cluster = await loadCluster(document, clusterAt);
  if (cluster.insecureSkipTlsVerify) {
    throw document.failure('KUBECONFIG_UNSUPPORTED', [...clusterAt, 'insecure-skip-tls-verify'], {
      message: 'is true, so nothing proves which cluster answers',
      remedy: `Put the CA of the cluster into certificate-authority-data of ${name}`,
    });
  }
  return { document, cluster, clusterAt, userAt };
}

function contextOf(
  document: KubeconfigDocument,
): { readonly cluster: string; readonly user: string } | undefined {
  const name = document.read(text, ['current-context']);
  const at = name === '' ? undefined : placeOf(document, 'context', name);
  return at && document.read(contextSchema, at);
}

function clusterPlace(document: KubeconfigDocument, named: string | undefined): KeyPath {
  const found = placeOf(document, 'cluster', '') ?? placeOf(document, 'cluster', named ?? '');
  if (found !== undefined) return found;
  if ((document.read(namesSchema, ['clusters']) ?? []).length === 0) {
    throw new AgentError('KUBECONFIG_INVALID', `${document.path} has no clusters`, {
      remedy: 'Set --discovery-file to a kubeconfig',
    });
  }
  throw document.failure('KUBECONFIG_INVALID', ['clusters'], {
    message: 'has no cluster with an empty name, and current-context selects none',
    remedy: `Set current-context in ${document.path} to a context whose cluster exists`,
  });
}

function placeOf(
  document: KubeconfigDocument,
  kind: 'cluster' | 'context' | 'user',
  name: string,
): KeyPath | undefined {
  if (kind === 'user' && name === '') return undefined;
  const list = `${kind}s`;
  const index = (document.read(namesSchema, [list]) ?? []).findIndex(
    (entry) => entry.name === name,
  );
  return index === -1 ? undefined : [list, index, kind];
}

/** A file that a web server sends must not make this machine read, and send, other files. */
function refuseFiles(document: KubeconfigDocument, places: readonly KeyPath[]): void {
  for (const at of places) {
    const entry = document.read(v.looseObject({}), at) as Readonly<Record<string, unknown>>;
    const key = fileKeys.find((name) => Boolean(entry[name]) && !entry[`${name}-data`]);
    if (key === undefined) continue;
    throw document.failure('KUBECONFIG_UNSUPPORTED', [...at, key], {
      message: 'names a file, and this kubeconfig comes from a web server',
      remedy:
        'Embed the content of the file in the kubeconfig: kubectl config view --raw --flatten',
    });
  }
}

const fileKeys = ['certificate-authority', 'client-certificate', 'client-key', 'tokenFile'];

/**
 * The token or the client certificate of the file, of which the caller wipes the secret.
 * @throws AgentError KUBECONFIG_INVALID, KUBECONFIG_UNSUPPORTED
 */
export async function fileCredential({
  document,
  clusterAt,
  userAt,
}: FileKubeconfig): Promise<BootstrapCredential> {
  if (userAt === undefined) throw noCredential(document.path);
  const { token, tokenFile, clientCertificate, plugin, impersonation } = await loadCredential(
    document,
    { user: userAt, cluster: clusterAt },
  );
  if (impersonation !== undefined) {
    throw document.failure('KUBECONFIG_UNSUPPORTED', userAt, {
      message: 'impersonates another user, which a bootstrap kubeconfig cannot do',
    });
  }
  if (tokenFile !== undefined)
    return { kind: 'token', token: await readToken(document, tokenFile) };
  if (token !== undefined) return { kind: 'token', token };
  if (clientCertificate !== undefined) {
    return { kind: 'certificate', pem: clientCertificate.pem, key: clientCertificate.key };
  }
  if (plugin === undefined) throw noCredential(document.path);
  throw document.failure('KUBECONFIG_UNSUPPORTED', [...userAt, 'exec'], {
    message: 'is an exec plugin, which nodecertd discover does not support',
    remedy: 'Add a bootstrap token: --token-file FILE',
  });
}

async function readToken(document: KubeconfigDocument, file: string): Promise<Secret> {
  const path = resolve(dirname(document.path), file);
  try {
    return new Secret(trimmed(await readSmallFile(path, fileLimit)));
  } catch (error) {
    const reason = error instanceof RangeError ? error.message : 'cannot be read';
    throw new AgentError('KUBECONFIG_INVALID', `the tokenFile of ${document.path} ${reason}`, {
      remedy: 'Add a bootstrap token: --token-file FILE',
    });
  }
}

/** Without the line break at the end, with which editors and `kubectl create token` end a file. */
function trimmed(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const end = bytes.findLastIndex((byte) => byte > 0x20) + 1;
  const token = bytes.slice(0, end);
  bytes.fill(0);
  return token;
}

function noCredential(path: string): AgentError {
  return new AgentError(
    'KUBECONFIG_INVALID',
    `${path} has no token and no client certificate, and no token was given`,
    { remedy: 'Add a bootstrap token: --token-file FILE' },
  );
}
