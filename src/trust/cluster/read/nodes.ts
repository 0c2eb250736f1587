import * as v from 'valibot';
import {
  controlPlaneAnnotationKey,
  parseControlPlaneAnnotation,
} from '../../../core/control-plane-annotation.ts';
import { canonicalIp } from '../../../core/ip-address.ts';
import type { TrustAnnotation } from '../../../core/trust-annotation.ts';
import { parseTrustAnnotation, trustAnnotationKey } from '../../../core/trust-annotation.ts';
import { controlPlaneLabel } from '../../../kube/api-server-list.ts';
import { listPages } from '../../../kube/list-pages.ts';
import type { ClusterNode } from '../state.ts';
import type { ClusterReader } from './reading.ts';

/**
 * Reads Nodes as a table, because a Node has up to 30 kB, most of it the names of images.
 * @param ports the ports of kubelets that do not listen on 10250
 * @throws AgentError as KubeClient.request
 */
export async function readNodes(
  { client, signal }: ClusterReader,
  ports: ReadonlyMap<string, number> = new Map(),
): Promise<ClusterNode[]> {
  const reports = new Reports();
  const nodes: ClusterNode[] = [];
  const options = { client: () => client, path, schema, asTable: true, limit: 100, signal };
  for await (const { items } of listPages(options)) {
    for (const { report, controlPlane, ...node } of items) {
      const kubeletPort = ports.get(node.name) ?? usualPort;
      nodes.push({ ...node, kubeletPort, ...reports.in(report), ...controlPlaneIn(controlPlane) });
    }
  }
  return nodes;
}

const path = '/api/v1/nodes';
const usualPort = 10_250;

const schema = v.pipe(
  v.object({
    cells: v.object({
      /** As in `Ready,SchedulingDisabled`. */
      Status: v.string(),
      'Internal-IP': v.string(),
      'External-IP': v.string(),
    }),
    object: v.object({
      metadata: v.object({
        name: v.string(),
        labels: v.nullish(v.object({ [controlPlaneLabel]: v.nullish(v.string()) }), {}),
        annotations: v.nullish(
          v.object({
            [trustAnnotationKey]: v.nullish(v.string()),
            [controlPlaneAnnotationKey]: v.nullish(v.string()),
          }),
          {},
        ),
      }),
    }),
  }),
  v.transform(({ cells, object: { metadata } }) => ({
    name: metadata.name,
    addresses: [cells['Internal-IP'], cells['External-IP']].flatMap(
      // `<none>` is not an address.
      (address) => canonicalIp(address) ?? [],
    ),
    isReady: cells.Status.split(',').includes('Ready'),
    isControlPlane: typeof metadata.labels[controlPlaneLabel] === 'string',
    report: metadata.annotations[trustAnnotationKey] ?? undefined,
    controlPlane: metadata.annotations[controlPlaneAnnotationKey] ?? undefined,
  })),
);

/**
 * The ports of the kubelets that do not listen on 10250, by the names of their Nodes. Only the whole
 * Node has it.
 * @throws AgentError as KubeClient.request
 */
export async function readKubeletPorts({
  client,
  signal,
}: ClusterReader): Promise<Map<string, number>> {
  const ports = new Map<string, number>();
  const options = { client: () => client, path, schema: portSchema, limit: 50, signal };
  for await (const { items } of listPages(options)) {
    for (const { name, port } of items) if (port !== usualPort) ports.set(name, port);
  }
  return ports;
}

const portSchema = v.pipe(
  v.object({
    metadata: v.object({ name: v.string() }),
    status: v.nullish(
      v.object({
        daemonEndpoints: v.nullish(
          v.object({ kubeletEndpoint: v.nullish(v.object({ Port: v.nullish(v.number()) })) }),
        ),
      }),
    ),
  }),
  v.transform(({ metadata: { name }, status }) => ({
    name,
    // An API server writes 0 for a Node without an endpoint.
    port: status?.daemonEndpoints?.kubeletEndpoint?.Port || usualPort,
  })),
);

function controlPlaneIn(text: string | undefined): Pick<ClusterNode, 'controlPlane'> {
  if (text === undefined) return {};
  return { controlPlane: parseControlPlaneAnnotation(text) ?? 'malformed' };
}

/** Reports of most nodes differ only in their time, so they share the rest. */
class Reports {
  readonly #known = new Map<string, TrustAnnotation | undefined>();

  in(text: string | undefined): Pick<ClusterNode, 'report'> {
    if (text === undefined) return {};
    const report = parseTrustAnnotation(text);
    if (report === undefined) return { report: 'malformed' };
    const { reportedAt, ...rest } = report;
    const key = JSON.stringify(rest);
    const known = this.#known.get(key) ?? report;
    this.#known.set(key, known);
    return { report: { ...known, reportedAt } };
  }
}
