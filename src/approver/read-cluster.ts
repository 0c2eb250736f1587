import * as v from 'valibot';
import { kubeletServingSigner } from '../core/certificate-spec.ts';
import { hasCode } from '../core/errors.ts';
import { listPages } from '../kube/list-pages.ts';
import type { KubeClient } from '../kube/rest-client.ts';
import type { FoundObject } from './cluster-objects.ts';
import { kubernetesServicePath } from './cluster-watch.ts';
import { machineCollection } from './machine-collection.ts';

interface Collection {
  readonly kind: string;
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
}

const collections: readonly Collection[] = [
  {
    kind: 'CertificateSigningRequest',
    path: '/apis/certificates.k8s.io/v1/certificatesigningrequests',
    query: { fieldSelector: `spec.signerName=${kubeletServingSigner}` },
  },
  { kind: 'Node', path: '/api/v1/nodes' },
  { kind: 'ServiceCIDR', path: '/apis/networking.k8s.io/v1/servicecidrs' },
  {
    kind: 'EndpointSlice',
    path: '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices',
    query: { labelSelector: 'kubernetes.io/service-name=kubernetes' },
  },
];

type Reader = Pick<KubeClient, 'request'>;

/**
 * Reads everything that the checks use, once, with the permissions of the approver.
 * @throws AgentError as KubeClient.request
 */
export async function readCluster(client: Reader, signal: AbortSignal): Promise<FoundObject[]> {
  const found: FoundObject[] = [];
  for (const collection of collections) found.push(...(await readAll(client, collection, signal)));
  return [...found, await readKubernetesService(client, signal)];
}

/** With a get, because the approver may read no other Service. */
async function readKubernetesService(client: Reader, signal: AbortSignal): Promise<FoundObject> {
  const request = { verb: 'get', path: kubernetesServicePath, signal } as const;
  const value = await client.request(request, v.unknown());
  return { kind: 'Service', value, place: `get ${kubernetesServicePath}` };
}

/** @throws AgentError as machineCollection */
export async function readMachines(
  client: Reader & Pick<KubeClient, 'access'>,
  signal: AbortSignal,
): Promise<FoundObject[]> {
  return readAll(
    client,
    { kind: 'Machine', path: await machineCollection(client, signal) },
    signal,
  );
}

/** A Node has up to 30 kB, so a page stays below the limit of a response. */
const pageSize = 100;

async function readAll(
  client: Reader,
  { kind, path, query = {} }: Collection,
  signal: AbortSignal,
): Promise<FoundObject[]> {
  const found: FoundObject[] = [];
  const options = { client: () => client, path, query, limit: pageSize, signal };
  try {
    for await (const { items } of listPages({ ...options, schema: v.unknown() })) {
      found.push(...items.map((value) => ({ kind, value, place: `list ${path}` })));
    }
  } catch (error) {
    // API servers before 1.33 have no ServiceCIDRs.
    if (kind === 'ServiceCIDR' && hasCode(error, 'API_NOT_FOUND')) return [];
    throw error;
  }
  return found;
}
