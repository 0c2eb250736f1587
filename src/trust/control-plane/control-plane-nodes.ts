import * as v from 'valibot';
import { controlPlaneLabel } from '../../kube/api-server-list.ts';
import type { KubeClient } from '../../kube/rest-client.ts';

/** A Node of the control plane. */
export interface ControlPlaneNode {
  readonly name: string;
  readonly isReady: boolean;
}

const nodesSchema = v.object({
  items: v.array(
    v.pipe(
      v.object({
        metadata: v.object({ name: v.string() }),
        status: v.nullish(
          v.object({
            conditions: v.nullish(v.array(v.object({ type: v.string(), status: v.string() })), []),
          }),
          {},
        ),
      }),
      v.transform(({ metadata: { name }, status: { conditions } }): ControlPlaneNode => ({
        name,
        isReady: conditions.some(({ type, status }) => type === 'Ready' && status === 'True'),
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
