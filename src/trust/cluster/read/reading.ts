import { hasCode, toFailure } from '../../../core/errors.ts';
import type { KubeClient } from '../../../kube/rest-client.ts';
import type { Reading } from '../state.ts';

export interface ClusterReader {
  readonly client: Pick<KubeClient, 'request'>;
  readonly signal: AbortSignal;
}

/**
 * What `read` returns, or why the credential does not see it.
 * @throws AgentError as KubeClient.request, for any other failure
 */
export async function reading<T>(read: () => Promise<T>): Promise<Reading<T>> {
  try {
    return { outcome: 'read', value: await read() };
  } catch (error) {
    if (hasCode(error, 'API_NOT_FOUND')) return { outcome: 'absent' };
    if (hasCode(error, 'API_FORBIDDEN')) return { outcome: 'forbidden', failure: toFailure(error) };
    throw error;
  }
}
