import * as v from 'valibot';
import { hasCode } from '../core/errors.ts';
import type { KubeClient } from './rest-client.ts';

/** `forbidden` if this client may not read Nodes. */
export type NodeReadiness = 'absent' | 'ready' | 'not-ready' | 'forbidden';

const nodeSchema = v.object({
  status: v.nullish(
    v.object({
      conditions: v.nullish(v.array(v.object({ type: v.string(), status: v.string() })), []),
    }),
    {},
  ),
});

/**
 * Whether a Node of this name exists and is Ready. The ClusterRole kubeadm:get-nodes allows bootstrap
 * tokens to read Nodes.
 * @throws AgentError as KubeClient.request
 */
export async function readNodeReadiness(
  client: Pick<KubeClient, 'request'>,
  name: string,
  signal: AbortSignal,
): Promise<NodeReadiness> {
  const path = `/api/v1/nodes/${encodeURIComponent(name)}`;
  try {
    const { status } = await client.request({ verb: 'get', path, signal }, nodeSchema);
    const conditions = status?.conditions ?? [];
    const isReady = conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
    return isReady ? 'ready' : 'not-ready';
  } catch (error) {
    if (hasCode(error, 'API_NOT_FOUND')) return 'absent';
    if (hasCode(error, 'API_FORBIDDEN')) return 'forbidden';
    throw error;
  }
}
