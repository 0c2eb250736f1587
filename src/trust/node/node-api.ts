import { hasCode, toFailure } from '../../core/errors.ts';
import { ownNodeInterval } from '../../core/timing.ts';
import { controlPlaneAnnotationKey } from '../../core/control-plane-annotation.ts';
import { longestTrustAnnotation, trustAnnotationKey } from '../../core/trust-annotation.ts';
import type { TrustFinding } from '../../core/trust-report.ts';
import type { OwnNode } from '../../kube/node-annotation.ts';
import { readOwnNode } from '../../kube/node-annotation.ts';
import { KubeClient } from '../../kube/rest-client.ts';
import type { TrustSession } from './session.ts';

/** A client for the API server with the credential of this node, and the Node object. */
export interface NodeApi extends AsyncDisposable {
  /** Both are absent if the API server does not answer. */
  readonly client?: KubeClient;
  readonly node?: OwnNode;
  /** The Node is what a run in the last hour has read. */
  readonly isNodeRemembered: boolean;
  readonly findings: readonly TrustFinding[];
}

/**
 * Reads the Node, or uses what a run in the last hour has read. A failure is a finding.
 * @throws AgentError ABORTED
 */
export async function openNodeApi(
  session: TrustSession,
  { mayUseMemory = false }: { readonly mayUseMemory?: boolean } = {},
): Promise<NodeApi> {
  const { nodeName } = session.request.config;
  const resources = new AsyncDisposableStack();
  const close = async (): Promise<void> => resources.disposeAsync();
  try {
    const client = await openClient(session, resources);
    const known = mayUseMemory ? knownNode(session) : undefined;
    const node = known ?? (await readOwnNode(client, nodeName, session.request.signal));
    if (known === undefined) rememberNode(session, node);
    const isNodeRemembered = known !== undefined;
    return { client, node, isNodeRemembered, findings: [], [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    if (hasCode(error, 'ABORTED')) throw error;
    const { message, remedy } = toFailure(error);
    const finding = {
      id: 'node_unreadable',
      message: `cannot read Node ${nodeName}, so its annotation may be old: ${message}`,
      ...(remedy !== undefined && { remedy }),
    };
    return { isNodeRemembered: false, findings: [finding], [Symbol.asyncDispose]: close };
  }
}

function knownNode({ memory: { node }, now }: TrustSession): OwnNode | undefined {
  if (node === undefined || now < node.at || now - node.at >= ownNodeInterval) return undefined;
  const { kubeletVersion, annotations } = node;
  return { kubeletVersion, annotations };
}

function rememberNode(session: TrustSession, { kubeletVersion, annotations }: OwnNode): void {
  const own = [trustAnnotationKey, controlPlaneAnnotationKey].flatMap((key) => {
    const text = annotations[key];
    return text !== undefined && text.length <= longestTrustAnnotation ? [[key, text]] : [];
  });
  const node = { at: session.now, kubeletVersion, annotations: Object.fromEntries(own) };
  session.memory = { ...session.memory, node };
}

async function openClient(
  session: TrustSession,
  resources: AsyncDisposableStack,
): Promise<KubeClient> {
  const { version, clock } = session.request;
  const access = resources.use(await session.openAccess());
  return resources.use(await KubeClient.open({ access, version, clock }));
}
