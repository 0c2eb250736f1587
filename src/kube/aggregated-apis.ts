import * as v from 'valibot';
import { hasCode } from '../core/errors.ts';
import type { KubeClient } from './rest-client.ts';

type Client = Pick<KubeClient, 'request'>;

/** An API of an extension API server, to which every kube-apiserver forwards requests. */
export interface AggregatedApi {
  /** The name of its APIService, as in `v1beta1.metrics.k8s.io`. */
  readonly name: string;
  /** Its discovery document, as in `/apis/metrics.k8s.io/v1beta1`. */
  readonly path: string;
  /** Why kube-apiserver does not forward requests; absent if the APIService is Available. */
  readonly unavailable?: string;
  /** The servers behind its Service that are ready. */
  readonly servers: readonly ExtensionServer[];
}

export interface ExtensionServer {
  readonly host: string;
  readonly port: number;
  /** The name that kube-apiserver verifies. */
  readonly serverName: string;
}

/**
 * The APIs that are not part of kube-apiserver, with the servers that a kube-apiserver may choose.
 * @throws AgentError as KubeClient.request
 */
export async function readAggregatedApis(
  client: Client,
  signal: AbortSignal,
): Promise<AggregatedApi[]> {
  const path = '/apis/apiregistration.k8s.io/v1/apiservices';
  const { items } = await client.request({ verb: 'list', path, signal }, apiServicesSchema);
  const found: AggregatedApi[] = [];
  for (const { metadata, spec, status } of items) {
    if (spec.service === undefined) continue;
    const { unavailable } = status;
    found.push({
      name: metadata.name,
      path: `/apis/${spec.group}/${spec.version}`,
      ...(unavailable !== undefined && { unavailable }),
      servers: await serversOf(client, spec.service, signal),
    });
  }
  return found;
}

interface ServiceReference {
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
}

/** As kube-apiserver finds them (apiserver, pkg/util/proxy, ResolveEndpoint and ResolveCluster). */
async function serversOf(
  client: Client,
  { namespace, name, port }: ServiceReference,
  signal: AbortSignal,
): Promise<ExtensionServer[]> {
  const serverName = `${name}.${namespace}.svc`;
  const service = await readService(
    client,
    `/api/v1/namespaces/${namespace}/services/${name}`,
    signal,
  );
  if (service === undefined) return [];
  const { type, externalName, ports } = service.spec;
  if (type === 'ExternalName') return [{ host: externalName, port, serverName }];
  const named = ports.find((one) => one.port === port);
  if (named === undefined) return [];
  const { items } = await client.request(
    {
      verb: 'list',
      path: `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`,
      query: { labelSelector: `kubernetes.io/service-name=${name}` },
      signal,
    },
    slicesSchema,
  );
  return items.flatMap(({ endpoints, ports: all }) => {
    const target = all.find((one) => one.name === named.name)?.port;
    if (target === undefined) return [];
    return endpoints
      .filter(({ conditions }) => conditions.ready)
      .flatMap(({ addresses: [host] }) =>
        host === undefined ? [] : [{ host, port: target, serverName }],
      );
  });
}

async function readService(
  client: Client,
  path: string,
  signal: AbortSignal,
): Promise<v.InferOutput<typeof serviceSchema> | undefined> {
  try {
    return await client.request({ verb: 'get', path, signal }, serviceSchema);
  } catch (error) {
    if (hasCode(error, 'API_NOT_FOUND')) return undefined;
    throw error;
  }
}

const conditionSchema = v.object({
  type: v.string(),
  status: v.string(),
  message: v.nullish(v.string(), ''),
});

const apiServicesSchema = v.object({
  items: v.array(
    v.object({
      metadata: v.object({ name: v.string() }),
      spec: v.object({
        group: v.nullish(v.string(), ''),
        version: v.nullish(v.string(), ''),
        service: v.pipe(
          v.nullish(
            v.object({
              namespace: v.string(),
              name: v.string(),
              port: v.nullish(v.number(), 443),
            }),
          ),
          v.transform((service) => service ?? undefined),
        ),
      }),
      status: v.pipe(
        v.nullish(v.object({ conditions: v.nullish(v.array(conditionSchema), []) }), {}),
        v.transform(({ conditions }) => {
          const available = conditions.find(({ type }) => type === 'Available');
          if (available?.status === 'True') return {};
          return { unavailable: available?.message || 'it has no condition Available' };
        }),
      ),
    }),
  ),
});

const serviceSchema = v.object({
  spec: v.object({
    type: v.nullish(v.string(), 'ClusterIP'),
    externalName: v.nullish(v.string(), ''),
    ports: v.nullish(v.array(v.object({ name: v.nullish(v.string(), ''), port: v.number() })), []),
  }),
});

const slicesSchema = v.object({
  items: v.array(
    v.object({
      ports: v.nullish(
        v.array(
          v.object({
            name: v.nullish(v.string(), ''),
            port: v.pipe(
              v.nullish(v.number()),
              v.transform((port) => port ?? undefined),
            ),
          }),
        ),
        [],
      ),
      endpoints: v.nullish(
        v.array(
          v.object({
            addresses: v.array(v.string()),
            // Unknown means ready (discovery.k8s.io/v1, EndpointConditions).
            conditions: v.nullish(v.object({ ready: v.nullish(v.boolean(), true) }), {
              ready: true,
            }),
          }),
        ),
        [],
      ),
    }),
  ),
});
