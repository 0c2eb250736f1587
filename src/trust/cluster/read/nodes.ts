import * as v from 'valibot';
import { canonicalIp } from '../../../core/ip-address.ts';
import type { TrustAnnotation } from '../../../core/trust-annotation.ts';
import { parseTrustAnnotation, trustAnnotationKey } from '../../../core/trust-annotation.ts';
import { instant } from '../../../kube/csr-object.ts';
import { listPages } from '../../../kube/list-pages.ts';
import type { ClusterNode } from '../state.ts';
import type { ClusterReader } from './reading.ts';

/** A Node has up to 30 kB, most of it the names of images. */
const pageSize = 100;

/** @throws AgentError as KubeClient.request */
export async function readNodes({ client, signal }: ClusterReader): Promise<ClusterNode[]> {
  const reports = new Reports();
  const nodes: ClusterNode[] = [];
  const options = { client: () => client, path: '/api/v1/nodes', schema, limit: pageSize, signal };
  for await (const { items } of listPages(options)) {
    for (const { report, ...node } of items) nodes.push({ ...node, ...reports.in(report) });
  }
  return nodes;
}

const controlPlaneLabel = 'node-role.kubernetes.io/control-plane';
const usualPort = 10_250;
const addressTypes = ['InternalIP', 'ExternalIP'] as const;

const schema = v.pipe(
  v.object({
    metadata: v.object({
      name: v.string(),
      labels: v.nullish(v.record(v.string(), v.string()), {}),
      annotations: v.nullish(v.object({ [trustAnnotationKey]: v.nullish(v.string()) }), {}),
    }),
    status: v.nullish(
      v.object({
        addresses: v.nullish(v.array(v.object({ type: v.string(), address: v.string() })), []),
        conditions: v.nullish(
          v.array(
            v.object({
              type: v.string(),
              status: v.string(),
              lastTransitionTime: v.nullish(instant),
            }),
          ),
          [],
        ),
        daemonEndpoints: v.nullish(
          v.object({ kubeletEndpoint: v.nullish(v.object({ Port: v.nullish(v.number()) })) }),
        ),
      }),
      {},
    ),
  }),
  v.transform(({ metadata: { name, labels, annotations }, status }) => {
    const { addresses, conditions, daemonEndpoints } = status;
    const ready = conditions.find(({ type }) => type === 'Ready');
    return {
      name,
      isControlPlane: Object.hasOwn(labels, controlPlaneLabel),
      addresses: addressTypes.flatMap((wanted) =>
        addresses.flatMap(({ type, address }) =>
          type === wanted ? (canonicalIp(address) ?? []) : [],
        ),
      ),
      kubeletPort: daemonEndpoints?.kubeletEndpoint?.Port || usualPort,
      ...(ready?.status !== 'True' && { notReadySince: ready?.lastTransitionTime ?? 0 }),
      report: annotations[trustAnnotationKey] ?? undefined,
    };
  }),
);

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
