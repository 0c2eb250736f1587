import { AgentError } from '../core/errors.ts';
import { printable } from '../core/printable.ts';
import type { KubeClient } from './rest-client.ts';

/**
 * The checks of /readyz that fail, such as `etcd`; empty if the API server is ready. Without a
 * credential, most API servers answer too (system:public-info-viewer).
 * @throws AgentError API_*
 */
export async function failingChecks(
  client: Pick<KubeClient, 'text'>,
  signal: AbortSignal,
): Promise<string[]> {
  const path = '/readyz?verbose';
  const { status, text } = await client.text({ path, signal });
  if (status === 200) return [];
  const failing = [...text.matchAll(/^\[-\](\S+)/gm)].map(([, name = '']) => printable(name, 80));
  if (failing.length > 0) return failing;
  throw status === 401 || status === 403
    ? new AgentError('API_UNAUTHORIZED', `get ${path}: HTTP status ${status}`)
    : new AgentError('API_SERVER_ERROR', `get ${path}: HTTP status ${status}`);
}
