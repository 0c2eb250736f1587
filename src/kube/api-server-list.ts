import * as v from 'valibot';
import { hasCode } from '../core/errors.ts';
import { canonicalIp } from '../core/ip-address.ts';
import type { KubeClient } from './rest-client.ts';

/** One API server of the cluster. */
export interface ApiServerPlace {
  /** The name of its Node, or its address if it belongs to no Node. */
  readonly name: string;
  /** Absent if the Node has no address. */
  readonly address?: string;
  readonly port: number;
}

/** The label that kubeadm, kubespray and others set on the Nodes of the control plane. */
export const controlPlaneLabel = 'node-role.kubernetes.io/control-plane';

/** The port of kubeadm, for a cluster whose API servers do not write the EndpointSlice. */
const usualPort = 6443;

/**
 * The API servers on other machines than this one: those of the Nodes with the label of the
 * control plane, and those in EndpointSlice default/kubernetes. An API server that is down leaves
 * the slice after 15 seconds, but its Node stays.
 * @param own the Node and the addresses of this machine
 * @throws AgentError API_*
 */
export async function otherApiServers(
  client: Pick<KubeClient, 'request'>,
  own: { readonly nodeName: string; readonly addresses: ReadonlySet<string> },
  signal: AbortSignal,
): Promise<ApiServerPlace[]> {
  const nodes = await client.request(
    { verb: 'list', path: '/api/v1/nodes', query: { labelSelector: controlPlaneLabel }, signal },
    nodesSchema,
  );
  const { addresses, port } = await publishedServers(client, signal);
  const isOwn = ({ name, addresses: all }: ControlPlaneNode): boolean =>
    name === own.nodeName || all.some((address) => own.addresses.has(address));
  const ofNodes = nodes
    .filter((node) => !isOwn(node))
    .map(({ name, addresses: all }): ApiServerPlace => {
      const address = all.find((one) => addresses.includes(one)) ?? all[0];
      return { name, port, ...(address !== undefined && { address }) };
    });
  const known = new Set([...own.addresses, ...nodes.flatMap((node) => node.addresses)]);
  const others = addresses.filter((address) => !known.has(address));
  return [...ofNodes, ...others.map((address) => ({ name: address, address, port }))];
}

async function publishedServers(
  client: Pick<KubeClient, 'request'>,
  signal: AbortSignal,
): Promise<v.InferOutput<typeof sliceSchema>> {
  const path = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes';
  try {
    return await client.request({ verb: 'get', path, signal }, sliceSchema);
  } catch (error) {
    if (hasCode(error, 'API_NOT_FOUND')) return { addresses: [], port: usualPort };
    throw error;
  }
}

type ControlPlaneNode = v.InferOutput<typeof nodesSchema>[number];

const nodesSchema = v.pipe(
  v.object({
    items: v.array(
      v.object({
        metadata: v.object({ name: v.string() }),
        status: v.nullish(
          v.object({
            addresses: v.nullish(v.array(v.object({ type: v.string(), address: v.string() })), []),
          }),
          {},
        ),
      }),
    ),
  }),
  v.transform(({ items }) =>
    items.map(({ metadata: { name }, status: { addresses } }) => ({
      name,
      addresses: addresses.flatMap(({ type, address }) =>
        type === 'InternalIP' ? (canonicalIp(address) ?? []) : [],
      ),
    })),
  ),
);

const sliceSchema = v.pipe(
  v.object({
    endpoints: v.nullish(v.array(v.object({ addresses: v.array(v.string()) })), []),
    ports: v.nullish(
      v.array(v.object({ name: v.nullish(v.string()), port: v.nullish(v.number()) })),
      [],
    ),
  }),
  v.transform(({ endpoints, ports }) => ({
    addresses: endpoints.flatMap(({ addresses }) =>
      addresses.flatMap((address) => canonicalIp(address) ?? []),
    ),
    port: ports.find(({ name }) => name === 'https')?.port ?? usualPort,
  })),
);
