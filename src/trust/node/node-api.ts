import { hasCode, toFailure } from '../../core/errors.ts';
import type { TrustFinding } from '../../core/trust-report.ts';
import type { OwnNode } from '../../kube/node-annotation.ts';
import { readOwnNode } from '../../kube/node-annotation.ts';
import { KubeClient } from '../../kube/rest-client.ts';
import type { TrustSession } from './session.ts';

/** The API server, asked with the credential of this node, and the Node object. */
export interface NodeApi extends AsyncDisposable {
  /** Both are absent if the API server does not answer. */
  readonly client?: KubeClient;
  readonly node?: OwnNode;
  readonly findings: readonly TrustFinding[];
}

/** Reads the Node. A failure is a finding. @throws AgentError ABORTED */
export async function openNodeApi(session: TrustSession): Promise<NodeApi> {
  const { nodeName } = session.request.config;
  const resources = new AsyncDisposableStack();
  const close = async (): Promise<void> => resources.disposeAsync();
  try {
    const client = await openClient(session, resources);
    const node = await readOwnNode(client, nodeName, session.request.signal);
    return { client, node, findings: [], [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    if (hasCode(error, 'ABORTED')) throw error;
    const { message, remedy } = toFailure(error);
    const finding = {
      id: 'node_unreadable',
      message: `cannot read Node ${nodeName}, so its annotation may be old: ${message}`,
      ...(remedy !== undefined && { remedy }),
    };
    return { findings: [finding], [Symbol.asyncDispose]: close };
  }
}

async function openClient(
  session: TrustSession,
  resources: AsyncDisposableStack,
): Promise<KubeClient> {
  const { version, clock } = session.request;
  const access = resources.use(await session.openAccess());
  return resources.use(await KubeClient.open({ access, version, clock }));
}
