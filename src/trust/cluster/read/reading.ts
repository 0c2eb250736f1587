import { hasCode, toFailure } from '../../../core/errors.ts';
import type { KubeClient } from '../../../kube/rest-client.ts';
import type { Reading } from '../state.ts';

export interface ClusterReader {
  readonly client: Pick<KubeClient, 'request'>;
  readonly signal: AbortSignal;
}

/**
 * What `read` returns, or why the credential does not see it.
 * @param read starts a list from its beginning each time
 * @throws AgentError as KubeClient.request, for any other failure
 */
export async function reading<T>(read: () => Promise<T>): Promise<Reading<T>> {
  try {
    return { outcome: 'read', value: await fromTheStart(read) };
  } catch (error) {
    if (hasCode(error, 'API_NOT_FOUND')) return { outcome: 'absent' };
    if (hasCode(error, 'API_FORBIDDEN')) return { outcome: 'forbidden', failure: toFailure(error) };
    throw error;
  }
}

const mostAttempts = 3;

/** etcd removes the version of a list after 5 to 10 minutes; its next page then answers 410. */
async function fromTheStart<T>(read: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await read();
    } catch (error) {
      if (!hasCode(error, 'API_GONE') || attempt === mostAttempts) throw error;
    }
  }
}
