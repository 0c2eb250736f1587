import * as v from 'valibot';
import { AgentError, hasCode } from '../core/errors.ts';
import type { PemBlock } from '../core/pem.ts';
import { parsePem } from '../core/pem.ts';
import { printable } from '../core/printable.ts';
import { KubeconfigDocument } from '../kube/kubeconfig-document.ts';

/** The cluster that cluster-info describes. */
export interface ClusterKubeconfig {
  /** An https:// URL without a slash at the end. */
  readonly server: string;
  /** The certificates of the bundle in its order, each once. */
  readonly certificates: readonly Uint8Array<ArrayBuffer>[];
  /** What the kubeconfig contains besides the cluster; one sentence each. */
  readonly warnings: readonly string[];
}

const text = v.nullish(v.string(), '');
const entrySchema = v.looseObject({ server: text, 'certificate-authority-data': text });
const clustersSchema = v.array(v.object({ cluster: v.record(v.string(), v.unknown()) }));
const usersSchema = v.nullish(v.array(v.nullish(v.looseObject({}), {})), []);

/**
 * Reads the kubeconfig of cluster-info. Takes only the server and the CAs of its cluster, as kubeadm
 * does: a user, an exec plugin or a proxy in it has no effect.
 * @throws AgentError API_BAD_RESPONSE
 */
export function readClusterKubeconfig(kubeconfig: string): ClusterKubeconfig {
  const document = parse(kubeconfig);
  const cluster = onlyCluster(document);
  return {
    server: serverOf(cluster.server ?? ''),
    certificates: certificatesOf(cluster['certificate-authority-data'] ?? ''),
    warnings: [...ignoredKeys(cluster), ...ignoredUsers(document)],
  };
}

/**
 * The CAs in the kubeconfig of cluster-info, for a caller that checks the PEM data itself.
 * @throws AgentError API_BAD_RESPONSE
 */
export function readClusterAuthorities(kubeconfig: string): Uint8Array<ArrayBuffer> {
  const data = onlyCluster(parse(kubeconfig))['certificate-authority-data'] ?? '';
  return decoded(data, (text) => Uint8Array.fromBase64(text));
}

function parse(kubeconfig: string): KubeconfigDocument {
  return reading(() => new KubeconfigDocument('cluster-info', kubeconfig));
}

/** The kubeconfig of cluster-info has no file that an administrator could correct. */
function reading<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!hasCode(error, 'KUBECONFIG_INVALID')) throw error;
    throw new AgentError('API_BAD_RESPONSE', `the ${error.message}`, { remedy: correction });
  }
}

function onlyCluster(document: KubeconfigDocument): v.InferOutput<typeof entrySchema> {
  const { length } = reading(() => document.read(clustersSchema, ['clusters']));
  if (length !== 1) throw unusable(`has ${length} clusters, expected 1`);
  return reading(() => document.read(entrySchema, ['clusters', 0, 'cluster']));
}

function serverOf(server: string): string {
  const url = URL.parse(server);
  const isUsable =
    url?.protocol === 'https:' && [url.username, url.password, url.search, url.hash].every(isEmpty);
  if (!isUsable) {
    throw unusable(`names the server "${printable(server, 200)}", which is not an https:// URL`);
  }
  return url.href.replace(/\/+$/, '');
}

function isEmpty(part: string): boolean {
  return part === '';
}

function certificatesOf(data: string): Uint8Array<ArrayBuffer>[] {
  const blocks = decoded(data, blocksOf);
  const other = blocks.find(({ label }) => label !== 'CERTIFICATE');
  if (other !== undefined) {
    throw unusable(`has a PEM block ${printable(other.label, 40)} among its CAs`);
  }
  if (blocks.length === 0) throw unusable('has no certificate in certificate-authority-data');
  const once = new Map(blocks.map(({ der }) => [der.toBase64(), der]));
  return [...once.values()];
}

function blocksOf(data: string): PemBlock[] {
  return parsePem(Uint8Array.fromBase64(data));
}

function decoded<T>(data: string, decode: (text: string) => T): T {
  if (data === '') throw unusable('has no certificate-authority-data');
  try {
    return decode(data);
  } catch {
    throw unusable('has certificate-authority-data that is not PEM in base64');
  }
}

/** For a cluster-info that the cluster has signed, so only its administrator can have written it. */
export function unusable(found: string): AgentError {
  return new AgentError('API_BAD_RESPONSE', `the kubeconfig in cluster-info ${found}`, {
    remedy: correction,
  });
}

const correction =
  'Correct it on a control-plane node: kubectl --namespace kube-public edit configmap cluster-info';

const usedKeys = new Set(['server', 'certificate-authority-data', 'extensions']);

function ignoredKeys(cluster: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(cluster)
    .filter(([key, value]) => !usedKeys.has(key) && Boolean(value))
    .map(([key]) => `cluster-info sets ${printable(key, 40)}, which nodecertd ignores`);
}

function ignoredUsers(document: KubeconfigDocument): string[] {
  const users = reading(() => document.read(usersSchema, ['users'])) ?? [];
  if (users.length === 0) return [];
  const hasPlugin = users.some((entry) => {
    const user = v.safeParse(v.object({ user: v.looseObject({ exec: v.unknown() }) }), entry);
    return user.success && Boolean(user.output.user.exec);
  });
  const plugin = hasPlugin ? ' with an exec plugin' : '';
  const noun = users.length === 1 ? 'a user' : `${users.length} users`;
  return [`cluster-info contains ${noun}${plugin}, which nodecertd ignores`];
}
