import * as v from 'valibot';
import { apiServerServingSigner } from '../../core/certificate-spec.ts';
import type { ErrorCode } from '../../core/errors.ts';
import { AgentError, hasCode, toFailure } from '../../core/errors.ts';
import { second } from '../../core/instant.ts';
import { printable } from '../../core/printable.ts';
import { clusterInfoPath, clusterInfoSchema } from '../../discovery/cluster-info.ts';
import { readClusterAuthorities } from '../../discovery/cluster-kubeconfig.ts';
import { badResponse } from '../../kube/body.ts';
import type { ClusterAccess } from '../../kube/cluster-access.ts';
import { KubeClient } from '../../kube/rest-client.ts';
import type { Clock } from '../../sys/clock.ts';
import { isMissing, storeError } from '../../sys/file-error.ts';
import { readSmallFile } from '../../sys/small-file.ts';
import type { SourceReading, TrustSource } from './source.ts';

export interface SourceSearch {
  /** `trust.file`. */
  readonly file?: string;
  /** The credential of this node. Its CAs verify the API server. */
  readonly access: ClusterAccess;
  /** The version of this program, for the User-Agent. */
  readonly version: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * Reads what each source says about the CAs of the cluster, in the order of their precedence. A
 * source that is slow, too long or broken does not keep the others from being read.
 * @throws AgentError ABORTED
 */
export async function readSources(search: SourceSearch): Promise<SourceReading[]> {
  const { file } = search;
  const bundles: TrustSource = { kind: 'cluster-trust-bundle', name: apiServerServingSigner };
  const clusterInfo: TrustSource = { kind: 'cluster-info', name: 'kube-public/cluster-info' };
  return Promise.all([
    ...(file === undefined ? [] : [reading({ kind: 'file', name: file }, () => readFile(file))]),
    reading(bundles, () => readTrustBundles(search)),
    reading(clusterInfo, () => readClusterInfo(search)),
  ]);
}

type Found =
  /** The name of the object, if only the API server knows it. */
  | { readonly outcome: 'read'; readonly pem: Uint8Array; readonly name?: string }
  | { readonly outcome: 'absent'; readonly reason: string };

async function reading(source: TrustSource, read: () => Promise<Found>): Promise<SourceReading> {
  try {
    return { ...source, ...(await read()) };
  } catch (error) {
    if (hasCode(error, 'ABORTED')) throw error;
    return { ...source, outcome: 'failed', failure: toFailure(error) };
  }
}

/** Four times the longest bundle. The check of the bundle refuses a file of up to this size. */
const longestFile = 1024 * 1024;

/** @throws AgentError STORE_* */
async function readFile(path: string): Promise<Found> {
  try {
    return { outcome: 'read', pem: await readSmallFile(path, longestFile) };
  } catch (error) {
    if (isMissing(error)) return absent('the file does not exist');
    if (!(error instanceof RangeError)) throw storeError('read', path, error);
    throw new AgentError('STORE_IO', `${path} ${error.message}`, {
      remedy: `Write the CAs of the cluster in PEM into ${path}`,
    });
  }
}

function absent(reason: string): Found {
  return { outcome: 'absent', reason };
}

/** kube-controller-manager writes one ClusterTrustBundle of this signer, and deletes others. */
const mostBundles = 16;

const bundlesSchema = v.object({
  metadata: v.object({ continue: v.nullish(v.string(), '') }),
  items: v.nullish(
    v.array(
      v.object({
        metadata: v.object({ name: v.string() }),
        spec: v.object({ signerName: v.nullish(v.string(), ''), trustBundle: v.string() }),
      }),
    ),
    [],
  ),
});

async function readTrustBundles(search: SourceSearch): Promise<Found> {
  await using client = await openClient(search, search.access);
  const path = '/apis/certificates.k8s.io/v1/clustertrustbundles';
  const query = {
    fieldSelector: `spec.signerName=${apiServerServingSigner}`,
    limit: String(mostBundles),
  };
  const { signal } = search;
  return await unlessAbsent(bundleAbsences, async () => {
    const list = await client.request({ verb: 'list', path, query, signal }, bundlesSchema);
    if (list.metadata.continue !== '') {
      throw badResponse(
        `the cluster has more than ${mostBundles} ClusterTrustBundles of ${apiServerServingSigner}`,
      );
    }
    // An API server that ignores the selector also returns the bundles of other signers.
    const bundles = list.items.filter(({ spec }) => spec.signerName === apiServerServingSigner);
    if (bundles.length === 0) return absent('the cluster has no ClusterTrustBundle of this signer');
    const pem = bundles.map(({ spec }) => spec.trustBundle).join('\n');
    const names = bundles.map(({ metadata }) => metadata.name);
    const name = printable(names.join(', '));
    return { outcome: 'read', pem: new TextEncoder().encode(pem), name };
  });
}

const bundleAbsences: Absences = {
  API_NOT_FOUND: 'the API server has no ClusterTrustBundles (Kubernetes before 1.37)',
  API_FORBIDDEN: 'this node may not list ClusterTrustBundles (HTTP status 403)',
};

/** Without a credential, because a node may not read cluster-info, and anonymous users may. */
async function readClusterInfo(search: SourceSearch): Promise<Found> {
  await using client = await openClient(search, { ...search.access, credential: {} });
  const request = { verb: 'get', path: clusterInfoPath, signal: search.signal } as const;
  return await unlessAbsent(clusterInfoAbsences, async () => {
    const { kubeconfig } = await client.request(request, clusterInfoSchema);
    return { outcome: 'read', pem: readClusterAuthorities(kubeconfig) };
  });
}

const anonymousForbidden = 'anonymous users may not read cluster-info (HTTP status 403)';

const clusterInfoAbsences: Absences = {
  API_NOT_FOUND: 'the cluster has no ConfigMap cluster-info in the namespace kube-public',
  API_UNAUTHORIZED: 'the API server rejects anonymous requests (HTTP status 401)',
  API_ANONYMOUS: anonymousForbidden,
  API_FORBIDDEN: anonymousForbidden,
};

/** The responses that mean that the cluster has no such source for this node. */
type Absences = Readonly<Partial<Record<ErrorCode, string>>>;

async function unlessAbsent(absences: Absences, read: () => Promise<Found>): Promise<Found> {
  try {
    return await read();
  } catch (error) {
    const reason = error instanceof AgentError ? absences[error.code] : undefined;
    if (reason === undefined) throw error;
    return absent(reason);
  }
}

/** Both responses have at most the size of one object in etcd, 1.5 MiB by default. */
const limits = { connectMs: 10 * second, requestMs: 10 * second, bodyBytes: 2 * 1024 * 1024 };

/** @throws AgentError KUBECONFIG_INVALID if nothing verifies the API server */
async function openClient(
  { version, clock }: SourceSearch,
  access: ClusterAccess,
): Promise<KubeClient> {
  const { path, cluster } = access;
  if (cluster.insecureSkipTlsVerify) {
    throw new AgentError(
      'KUBECONFIG_INVALID',
      `${path} sets insecure-skip-tls-verify, so the API server proves nothing about its CAs`,
      { remedy: `Remove insecure-skip-tls-verify from ${path}, and set certificate-authority` },
    );
  }
  return KubeClient.open({ access, version, clock, limits });
}
