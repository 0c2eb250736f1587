import * as v from 'valibot';
import type { NodeAddress } from '../core/enroller-protocol.ts';
import type { Instant } from '../core/instant.ts';
import { instant } from '../kube/csr-object.ts';

/** The fields of a Node that the checks use. */
export interface NodeSnapshot {
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly createdAt: Instant;
  readonly isTerminating: boolean;
  /** A cloud provider has not set the addresses of the Node yet. */
  readonly isUninitialized: boolean;
  readonly isControlPlane: boolean;
  readonly addresses: readonly NodeAddress[];
  readonly podCidrs: readonly string[];
  readonly providerId: string;
}

export const controlPlaneLabel = 'node-role.kubernetes.io/control-plane';
const uninitializedTaint = 'node.cloudprovider.kubernetes.io/uninitialized';

const text = v.nullish(v.string(), '');

/** A core/v1 Node. */
export const nodeSnapshotSchema = v.pipe(
  v.object({
    metadata: v.object({
      name: v.string(),
      uid: v.string(),
      resourceVersion: v.string(),
      creationTimestamp: instant,
      deletionTimestamp: v.nullish(v.string(), ''),
      labels: v.nullish(v.record(v.string(), v.string()), {}),
    }),
    spec: v.nullish(
      v.object({
        podCIDR: text,
        podCIDRs: v.nullish(v.array(v.string()), []),
        providerID: text,
        taints: v.nullish(v.array(v.object({ key: text })), []),
      }),
      {},
    ),
    status: v.nullish(
      v.object({ addresses: v.nullish(v.array(v.object({ type: text, address: text })), []) }),
      {},
    ),
  }),
  v.transform(({ metadata, spec, status }): NodeSnapshot => ({
    name: metadata.name,
    uid: metadata.uid,
    resourceVersion: metadata.resourceVersion,
    createdAt: metadata.creationTimestamp,
    isTerminating: metadata.deletionTimestamp !== '',
    isUninitialized: spec.taints.some(({ key }) => key === uninitializedTaint),
    isControlPlane: Object.hasOwn(metadata.labels, controlPlaneLabel),
    addresses: status.addresses,
    podCidrs: [...new Set([...spec.podCIDRs, spec.podCIDR])].filter((cidr) => cidr !== ''),
    providerId: spec.providerID,
  })),
);

/** The source of a fact for an explanation. */
export function sourceOf(
  node: NodeSnapshot | undefined,
  name: string,
): { readonly source: string; readonly resourceVersion?: string } {
  if (node === undefined) return { source: `Node ${name}, which does not exist` };
  return { source: `Node ${name}`, resourceVersion: node.resourceVersion };
}
