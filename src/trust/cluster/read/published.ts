import * as v from 'valibot';
import { apiServerServingSigner } from '../../../core/certificate-spec.ts';
import type { Instant } from '../../../core/instant.ts';
import type { AgentError } from '../../../core/errors.ts';
import { hasCode } from '../../../core/errors.ts';
import { instant } from '../../../kube/csr-object.ts';
import { listPages } from '../../../kube/list-pages.ts';
import type { PublishedCas } from '../state.ts';
import type { Bundles } from './bundles.ts';
import type { ClusterReader } from './reading.ts';

export interface BundleReader extends ClusterReader {
  readonly bundles: Bundles;
}

/** @throws AgentError as KubeClient.request */
export async function readNamespaces({ client, signal }: ClusterReader): Promise<string[]> {
  const options = { client: () => client, path: '/api/v1/namespaces', signal };
  const names: string[] = [];
  for await (const { items } of listPages({ ...options, schema: namespaceSchema, limit: 500 })) {
    for (const { name, deletionTimestamp } of items.map(({ metadata }) => metadata)) {
      if (deletionTimestamp === undefined) names.push(name);
    }
  }
  return names;
}

const namespaceSchema = v.object({
  metadata: v.object({ name: v.string(), deletionTimestamp: v.optional(v.string()) }),
});

/** @throws AgentError as KubeClient.request */
export async function readRootCas(reader: BundleReader): Promise<Map<string, PublishedCas>> {
  const { client, signal } = reader;
  const options = {
    client: () => client,
    path: '/api/v1/configmaps',
    // An authorizer takes the name from this selector, so the role does not have to allow all ConfigMaps.
    query: { fieldSelector: 'metadata.name=kube-root-ca.crt' },
    schema: configMapSchema,
    limit: 250,
    signal,
  };
  const published = new Map<string, PublishedCas>();
  for await (const { items } of listPages(options)) {
    for (const item of items) {
      published.set(item.metadata.namespace, publishedIn(item, 'ca.crt', reader));
    }
  }
  return published;
}

/** @throws AgentError as KubeClient.request */
export async function readExtensionAuthentication(reader: BundleReader): Promise<PublishedCas> {
  const path = '/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication';
  const request = { verb: 'get', path, signal: reader.signal } as const;
  const found = await reader.client.request(request, configMapSchema);
  return publishedIn(found, 'client-ca-file', reader);
}

const configMapSchema = v.object({
  metadata: v.object({
    namespace: v.nullish(v.string(), ''),
    managedFields: v.nullish(
      v.array(v.object({ time: v.nullish(instant), fieldsV1: v.nullish(v.looseObject({}), {}) })),
      [],
    ),
  }),
  data: v.nullish(v.record(v.string(), v.string()), {}),
});

type ConfigMap = v.InferOutput<typeof configMapSchema>;

function publishedIn(
  { metadata, data }: ConfigMap,
  key: string,
  { bundles }: Pick<BundleReader, 'bundles'>,
): PublishedCas {
  const changedAt = lastChange(metadata);
  return { ...bundles.in(data[key] ?? ''), ...(changedAt !== undefined && { changedAt }) };
}

/** Managers of other fields, such as labels, do not count. */
function lastChange({ managedFields }: ConfigMap['metadata']): Instant | undefined {
  const times = managedFields.flatMap(({ time, fieldsV1 }) =>
    'f:data' in fieldsV1 ? (time ?? []) : [],
  );
  return times.length === 0 ? undefined : Math.max(...times);
}

/**
 * The ClusterTrustBundles of the signer of the API servers. They are v1 since Kubernetes 1.37.
 * @throws AgentError as KubeClient.request; API_NOT_FOUND if the API server has no ClusterTrustBundles
 */
export async function readTrustBundles(reader: BundleReader): Promise<Map<string, PublishedCas>> {
  try {
    return await trustBundlesOf('v1', reader);
  } catch (error) {
    if (!hasCode(error, 'API_NOT_FOUND')) throw error;
    return await betaTrustBundles(reader, error);
  }
}

/** @throws AgentError `notFound` if the API server lacks the version: it then answers 404 in plain text */
async function betaTrustBundles(
  reader: BundleReader,
  notFound: AgentError,
): Promise<Map<string, PublishedCas>> {
  try {
    return await trustBundlesOf('v1beta1', reader);
  } catch (error) {
    throw hasCode(error, 'API_BAD_RESPONSE') ? notFound : error;
  }
}

async function trustBundlesOf(
  version: string,
  { client, signal, bundles }: BundleReader,
): Promise<Map<string, PublishedCas>> {
  const options = {
    client: () => client,
    path: `/apis/certificates.k8s.io/${version}/clustertrustbundles`,
    query: { fieldSelector: `spec.signerName=${apiServerServingSigner}` },
    schema: trustBundleSchema,
    limit: 10,
    signal,
  };
  const found = new Map<string, PublishedCas>();
  for await (const { items } of listPages(options)) {
    for (const { metadata, spec } of items) found.set(metadata.name, bundles.in(spec.trustBundle));
  }
  return found;
}

const trustBundleSchema = v.object({
  metadata: v.object({ name: v.string() }),
  spec: v.object({ trustBundle: v.string() }),
});
