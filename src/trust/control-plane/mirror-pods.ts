import * as v from 'valibot';
import { listPages } from '../../kube/list-pages.ts';
import type { KubeClient } from '../../kube/rest-client.ts';
import { parseComponentFlags } from '../../pki/components/component-flags.ts';
import type { ComponentFlag } from '../../pki/components/component.ts';

/** What the cluster knows of a static pod of the control plane. */
export interface MirrorPod {
  readonly name: string;
  readonly node: string;
  /** `kube-controller-manager` */
  readonly component: string;
  readonly flags: readonly ComponentFlag[];
  /** False also if the kubelet of the node no longer reports. */
  readonly isReady: boolean;
}

const podSchema = v.pipe(
  v.object({
    metadata: v.object({
      name: v.string(),
      annotations: v.nullish(v.record(v.string(), v.string()), {}),
      labels: v.nullish(v.record(v.string(), v.string()), {}),
    }),
    spec: v.object({
      nodeName: v.nullish(v.string(), ''),
      containers: v.array(
        v.object({
          command: v.nullish(v.array(v.string()), []),
          args: v.nullish(v.array(v.string()), []),
        }),
      ),
    }),
    status: v.nullish(
      v.object({
        conditions: v.nullish(v.array(v.object({ type: v.string(), status: v.string() })), []),
      }),
      {},
    ),
  }),
  v.transform(({ metadata: { name, annotations, labels }, spec, status }) => {
    const [container] = spec.containers;
    const words = [...(container?.command ?? []), ...(container?.args ?? [])];
    return {
      name,
      isMirror: annotations['kubernetes.io/config.mirror'] !== undefined,
      node: spec.nodeName,
      component: labels['component'] ?? '',
      flags: parseComponentFlags(words.slice(1)),
      isReady: status.conditions.some(({ type, status: is }) => type === 'Ready' && is === 'True'),
    };
  }),
);

/**
 * The static pods of the control plane on all nodes, by the labels of kubeadm. Each kubelet keeps
 * them up to date, so they show the flags on nodes that this node cannot log in to.
 * @throws AgentError as KubeClient.request
 */
export async function readMirrorPods(
  client: Pick<KubeClient, 'request'>,
  signal: AbortSignal,
): Promise<MirrorPod[]> {
  const pages = listPages({
    client: () => client,
    path: '/api/v1/namespaces/kube-system/pods',
    query: { labelSelector: 'tier=control-plane' },
    schema: podSchema,
    limit: 100,
    signal,
  });
  const found: MirrorPod[] = [];
  for await (const { items } of pages) {
    for (const { isMirror, ...pod } of items) if (isMirror) found.push(pod);
  }
  return found;
}
