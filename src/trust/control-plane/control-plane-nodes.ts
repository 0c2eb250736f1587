import * as v from 'valibot';
import type { ControlPlaneAnnotation } from '../../core/control-plane-annotation.ts';
import {
  controlPlaneAnnotationKey,
  parseControlPlaneAnnotation,
} from '../../core/control-plane-annotation.ts';
import { canonicalIp } from '../../core/ip-address.ts';
import { controlPlaneLabel } from '../../kube/api-server-list.ts';
import type { KubeClient } from '../../kube/rest-client.ts';

/** A Node of the control plane. */
export interface ControlPlaneNode {
  readonly name: string;
  readonly isReady: boolean;
  /** Internal addresses. */
  readonly addresses: readonly string[];
  /** What the node reports about its files. Absent without a report, and for a malformed one. */
  readonly report?: ControlPlaneAnnotation;
}

const nodesSchema = v.object({
  items: v.array(
    v.pipe(
      v.object({
        metadata: v.object({
          name: v.string(),
          annotations: v.nullish(v.record(v.string(), v.string()), {}),
        }),
        status: v.nullish(
          v.object({
            addresses: v.nullish(v.array(v.object({ type: v.string(), address: v.string() })), []),
            conditions: v.nullish(v.array(v.object({ type: v.string(), status: v.string() })), []),
          }),
          {},
        ),
      }),
      v.transform(({ metadata: { name, annotations }, status }): ControlPlaneNode => ({
        name,
        addresses: status.addresses.flatMap(({ type, address }) =>
          type === 'InternalIP' ? (canonicalIp(address) ?? []) : [],
        ),
        isReady: status.conditions.some(
          ({ type, status: is }) => type === 'Ready' && is === 'True',
        ),
        ...reportIn(annotations[controlPlaneAnnotationKey]),
      })),
    ),
  ),
});

/** @throws AgentError as KubeClient.request */
export async function readControlPlaneNodes(
  client: Pick<KubeClient, 'request'>,
  signal: AbortSignal,
): Promise<readonly ControlPlaneNode[]> {
  const query = { labelSelector: controlPlaneLabel };
  const request = { verb: 'list', path: '/api/v1/nodes', query, signal } as const;
  return (await client.request(request, nodesSchema)).items;
}

/** The control-plane Nodes, and the one of this machine. */
export interface ControlPlaneNodes {
  /** Absent on a machine without a Node. */
  readonly own?: ControlPlaneNode;
  readonly others: readonly ControlPlaneNode[];
}

/** @throws AgentError as KubeClient.request */
export async function readNodesWithOwn({
  client,
  signal,
  ...machine
}: Machine & {
  readonly client: Pick<KubeClient, 'request'>;
  readonly signal: AbortSignal;
}): Promise<ControlPlaneNodes> {
  return withOwn(await readControlPlaneNodes(client, signal), machine);
}

interface Machine {
  readonly hostName: string;
  readonly addresses: ReadonlySet<string>;
}

/** The kubelet may give the Node another name than the host has, so an address finds it too. */
export function withOwn(nodes: readonly ControlPlaneNode[], machine: Machine): ControlPlaneNodes {
  const isNamed = ({ name }: ControlPlaneNode): boolean => name === machine.hostName;
  const isOwn = (node: ControlPlaneNode): boolean =>
    isNamed(node) || node.addresses.some((address) => machine.addresses.has(address));
  const own = nodes.find(isNamed) ?? nodes.find(isOwn);
  return { ...(own && { own }), others: nodes.filter((node) => !isOwn(node)) };
}

/** The other control-plane Nodes that a step waits for, and those that it does not wait for. */
export interface AwaitedNodes {
  /** An excepted Node that is Ready is awaited too, without its report. */
  readonly others: readonly ControlPlaneNode[];
  /** Excepted, and off. */
  readonly away: readonly ControlPlaneNode[];
}

/**
 * An excepted Node that is Ready still counts for the question whether this is the last node: its
 * kube-apiserver would add the removed CA to the objects of the cluster again at once.
 */
export function awaitedNodes(
  others: readonly ControlPlaneNode[],
  exceptNodes: ReadonlySet<string> = new Set(),
): AwaitedNodes {
  const isExcepted = ({ name }: ControlPlaneNode): boolean => exceptNodes.has(name);
  const isAway = (node: ControlPlaneNode): boolean => isExcepted(node) && !node.isReady;
  return {
    others: others
      .filter((node) => !isAway(node))
      .map(({ report, ...node }) => (report && !isExcepted(node) ? { ...node, report } : node)),
    away: others.filter(isAway),
  };
}

function reportIn(annotation: string | undefined): Pick<ControlPlaneNode, 'report'> {
  const report = annotation === undefined ? undefined : parseControlPlaneAnnotation(annotation);
  return report === undefined ? {} : { report };
}
