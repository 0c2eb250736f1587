import type { TrustAuthority } from '../../core/trust.ts';
import type { AggregatedApi, ExtensionServer } from '../../kube/aggregated-apis.ts';
import { readAggregatedApis } from '../../kube/aggregated-apis.ts';
import { otherApiServers } from '../../kube/api-server-list.ts';
import type { RolloverSide } from '../cluster/gate.ts';
import type { ProbeResult } from '../cluster/probes.ts';
import type { CheckContext } from './check.ts';
import { publishedClientAuthorities } from './client-authorities-task.ts';
import type { ControlPlaneNode, ControlPlaneNodes } from './control-plane-nodes.ts';
import { readNodesWithOwn } from './control-plane-nodes.ts';
import { apiServerPath, probeFrontProxy } from './front-proxy-trust.ts';
import type { RequestTarget } from './request-probe.ts';
import { apiServerOf } from './served-chain.ts';
import type { StepRequest } from './step-plan.ts';

/** Whether a server accepts a front-proxy certificate from each CA. */
export type FrontProxyProbe = Readonly<Record<RolloverSide, ProbeResult>>;

/** What the steps for the CA `front-proxy` need from the cluster. */
export interface FrontProxyFacts {
  /** The API servers of the cluster. */
  readonly servers: readonly (FrontProxyProbe & {
    /** The name of the Node. */
    readonly name: string;
    readonly isOwn: boolean;
  })[];
  /** The CAs of front-proxy certificates that extension API servers read. */
  readonly published: readonly TrustAuthority[];
  readonly apis: readonly ProbedApi[];
  readonly own?: ControlPlaneNode;
  /** The control-plane Nodes without the Node of this machine. */
  readonly others: readonly ControlPlaneNode[];
}

export interface ProbedApi extends Omit<AggregatedApi, 'servers'> {
  readonly servers: readonly (ExtensionServer & FrontProxyProbe)[];
}

/** @throws AgentError KEY_UNSUPPORTED; as KubeClient.request */
export async function readFrontProxyFacts(
  context: Pick<CheckContext, 'node' | 'clock'>,
  request: StepRequest,
): Promise<FrontProxyFacts> {
  const { client, signal } = request;
  const probe = async (target: Omit<RequestTarget, 'headers'>): Promise<FrontProxyProbe> => {
    const [old, next] = await Promise.all([
      probeFrontProxy(context, { ...target, side: 'old' }, signal),
      probeFrontProxy(context, { ...target, side: 'next' }, signal),
    ]);
    return { old, next };
  };
  const apis = await readAggregatedApis(client, signal);
  const nodes = await readNodesWithOwn(request);
  return {
    ...nodes,
    servers: await probeApiServers({ context, request, nodes }, probe),
    published: await publishedClientAuthorities(request, 'front-proxy'),
    apis: await Promise.all(
      apis.map(async (api) => ({
        ...api,
        servers: await Promise.all(
          api.servers.map(async (server) => ({
            ...server,
            ...(await probe({ ...server, path: api.path })),
          })),
        ),
      })),
    ),
  };
}

async function probeApiServers(
  {
    context: { node },
    request,
    nodes: { own },
  }: {
    readonly context: Pick<CheckContext, 'node'>;
    readonly request: StepRequest;
    readonly nodes: ControlPlaneNodes;
  },
  probe: (target: Omit<RequestTarget, 'headers'>) => Promise<FrontProxyProbe>,
): Promise<FrontProxyFacts['servers']> {
  const { client, hostName, addresses, signal } = request;
  const here = apiServerOf(node);
  const name = own?.name ?? hostName;
  const others = await otherApiServers(client, { nodeName: name, addresses }, signal);
  const targets = [
    ...(here === undefined ? [] : [{ ...here, name, isOwn: true }]),
    ...others.map((other) => ({ ...other, host: other.address, isOwn: false })),
  ];
  return Promise.all(
    targets.map(async ({ name: server, isOwn, host, port }) => ({
      name: server,
      isOwn,
      ...(host === undefined ? withoutAddress : await probe({ host, port, path: apiServerPath })),
    })),
  );
}

const unreachable: ProbeResult = { kind: 'failed', reason: 'its Node has no InternalIP' };
const withoutAddress: FrontProxyProbe = { old: unreachable, next: unreachable };
