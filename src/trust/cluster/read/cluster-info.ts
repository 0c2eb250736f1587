import * as v from 'valibot';
import type { BootstrapToken } from '../../../core/bootstrap-token.ts';
import { parseBootstrapToken } from '../../../core/bootstrap-token.ts';
import { hasCode } from '../../../core/errors.ts';
import type { Instant } from '../../../core/instant.ts';
import { concat } from '../../../core/pem.ts';
import type { ClusterInfo } from '../../../discovery/cluster-info.ts';
import { clusterInfoPath, clusterInfoSchema } from '../../../discovery/cluster-info.ts';
import { readClusterAuthorities } from '../../../discovery/cluster-kubeconfig.ts';
import { isSignedBy } from '../../../discovery/signature.ts';
import { base64 } from '../../../kube/csr-object.ts';
import { listPages } from '../../../kube/list-pages.ts';
import type { PublishedClusterInfo } from '../state.ts';
import type { BundleReader } from './published.ts';
import type { ClusterReader } from './reading.ts';
import { reading } from './reading.ts';

/** @throws AgentError as KubeClient.request; API_NOT_FOUND if the cluster has no cluster-info */
export async function readClusterInfo(
  reader: BundleReader,
  now: Instant,
): Promise<PublishedClusterInfo> {
  const request = { verb: 'get', path: clusterInfoPath, signal: reader.signal } as const;
  const info = await reader.client.request(request, clusterInfoSchema);
  const unsigned = await reading(() => unsignedTokens(info, reader, now));
  return {
    ...casIn(info, reader),
    ...(unsigned.outcome === 'read' && { unsignedTokens: unsigned.value }),
  };
}

function casIn(
  { kubeconfig }: ClusterInfo,
  { bundles }: BundleReader,
): Pick<PublishedClusterInfo, 'authorities' | 'problem'> {
  try {
    return bundles.in(Buffer.from(readClusterAuthorities(kubeconfig)).toString('latin1'));
  } catch (error) {
    if (!hasCode(error, 'API_BAD_RESPONSE')) throw error;
    return { authorities: [], problem: error.message };
  }
}

/** The ids of the tokens for which a join fails, because nothing vouches for the content. */
async function unsignedTokens(
  { kubeconfig, signatures }: ClusterInfo,
  { client, signal }: ClusterReader,
  now: Instant,
): Promise<string[]> {
  const options = {
    client: () => client,
    path: '/api/v1/namespaces/kube-system/secrets',
    query: { fieldSelector: 'type=bootstrap.kubernetes.io/token' },
    schema: tokenSchema,
    limit: 100,
    signal,
  };
  const unsigned: string[] = [];
  for await (const { items } of listPages(options)) {
    for (const { data } of items) {
      using token = tokenOf(data);
      if (token === undefined || !isForSigning(data, now)) continue;
      const signature = signatures.get(token.id) ?? '';
      if (!isSignedBy(token, { kubeconfig, signature })) unsigned.push(token.id);
    }
  }
  return unsigned;
}

const value = v.nullish(base64);
const tokenSchema = v.object({
  data: v.nullish(
    v.object({
      'token-id': value,
      'token-secret': value,
      'usage-bootstrap-signing': value,
      expiration: value,
    }),
    {},
  ),
});

type TokenData = v.InferOutput<typeof tokenSchema>['data'];

function tokenOf(data: TokenData): BootstrapToken | undefined {
  const { 'token-id': id, 'token-secret': secret } = data;
  if (id === undefined || id === null || secret === undefined || secret === null) return undefined;
  const whole = concat([id, Uint8Array.of(0x2e), secret]);
  secret.fill(0);
  try {
    return parseBootstrapToken(whole);
  } finally {
    whole.fill(0);
  }
}

function isForSigning(data: TokenData, now: Instant): boolean {
  if (textOf(data['usage-bootstrap-signing']) !== 'true') return false;
  const expiration = Date.parse(textOf(data.expiration));
  return Number.isNaN(expiration) || expiration > now;
}

function textOf(bytes: Uint8Array | null | undefined): string {
  return Buffer.from(bytes ?? new Uint8Array()).toString();
}
