import { describeError } from '../../core/errors.ts';
import { day } from '../../core/instant.ts';
import { listCsrs } from '../../kube/csr-list.ts';
import type { ListedCsr } from '../../kube/csr-list.ts';
import type { KubeClient } from '../../kube/rest-client.ts';
import { peekState } from '../../store/state-file.ts';
import type { TrustSession } from './session.ts';

/** kube-controller-manager deletes an undecided CSR after a day (pkg/controller/certificates/cleaner). */
const longestPending = day;

/**
 * Why the kubelet cannot be restarted now: a kubelet loses the key of its CSR, and another program
 * may wait for the kubelet. Undefined if no CSR of this node is pending.
 */
export async function pendingCsr({
  session,
  client,
}: {
  readonly session: TrustSession;
  readonly client: KubeClient | undefined;
}): Promise<string | undefined> {
  const { config, signal } = session.request;
  const isRecent = (createdAt: number): boolean => session.now - createdAt < longestPending;
  const state = await peekState(config.stateDirectory).catch(() => undefined);
  const own = Object.values(state?.certificates ?? {}).flatMap(({ outstanding }) => outstanding);
  const waiting = own.find(({ createdAt }) => isRecent(createdAt));
  if (waiting !== undefined) return `CSR ${waiting.csr} is pending`;
  if (client === undefined) return 'the API server does not answer, so a CSR may be pending';
  const user = `system:node:${config.nodeName}`;
  const isPending = ({ username, createdAt, status }: ListedCsr): boolean =>
    username === user && isRecent(createdAt) && isUndecided(status);
  try {
    const [csr] = (await listCsrs(client, isPending, signal)).csrs;
    return csr && `CSR ${csr.name} is pending`;
  } catch (error) {
    return `the CSRs of this node cannot be listed: ${describeError(error)}`;
  }
}

function isUndecided({ certificate, conditions }: ListedCsr['status']): boolean {
  if (certificate !== undefined) return false;
  return conditions.every(({ type }) => type !== 'Denied' && type !== 'Failed');
}
