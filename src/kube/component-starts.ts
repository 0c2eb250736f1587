import * as v from 'valibot';
import type { Instant } from '../core/instant.ts';
import { instant } from './csr-object.ts';
import type { KubeClient } from './rest-client.ts';

/**
 * When the containers of the control plane's static pods on a node started, by the label `component`
 * that kubeadm sets. A node may list its own pods.
 * @throws AgentError as KubeClient.request
 */
export async function componentStarts(
  client: Pick<KubeClient, 'request'>,
  nodeName: string,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Instant>> {
  const path = '/api/v1/namespaces/kube-system/pods';
  const query = { fieldSelector: `spec.nodeName=${nodeName}`, labelSelector: 'tier=control-plane' };
  const { items } = await client.request({ verb: 'list', path, query, signal }, schema);
  return new Map(items.flatMap(startOf));
}

const schema = v.object({
  items: v.array(
    v.object({
      metadata: v.object({ labels: v.nullish(v.object({ component: v.nullish(v.string()) })) }),
      status: v.nullish(
        v.object({
          containerStatuses: v.nullish(
            v.array(
              v.object({
                name: v.string(),
                state: v.nullish(
                  v.object({ running: v.nullish(v.object({ startedAt: v.nullish(instant) })) }),
                ),
              }),
            ),
          ),
        }),
      ),
    }),
  ),
});

/** The container has the name of the component. Empty while it does not run. */
function startOf({
  metadata,
  status,
}: v.InferOutput<typeof schema>['items'][number]): [string, Instant][] {
  const component = metadata.labels?.component ?? '';
  const container = status?.containerStatuses?.find(({ name }) => name === component);
  const startedAt = container?.state?.running?.startedAt;
  return startedAt === undefined || startedAt === null ? [] : [[component, startedAt]];
}
