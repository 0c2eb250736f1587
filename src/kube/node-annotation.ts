import * as v from 'valibot';
import type { KubeClient } from './rest-client.ts';

type Client = Pick<KubeClient, 'request'>;

/** What a node reports on its own Node object. */
export interface OwnNode {
  readonly annotations: Readonly<Record<string, string>>;
  /** As in `v1.37.2`; empty until the kubelet has registered the node. */
  readonly kubeletVersion: string;
}

const schema = v.pipe(
  v.object({
    metadata: v.object({ annotations: v.nullish(v.record(v.string(), v.string()), {}) }),
    status: v.nullish(
      v.object({
        nodeInfo: v.nullish(v.object({ kubeletVersion: v.nullish(v.string(), '') }), {}),
      }),
      {},
    ),
  }),
  v.transform(({ metadata, status }): OwnNode => ({
    annotations: metadata.annotations,
    kubeletVersion: status.nodeInfo?.kubeletVersion ?? '',
  })),
);

/** @throws AgentError as KubeClient.request */
export async function readOwnNode(
  client: Client,
  name: string,
  signal: AbortSignal,
): Promise<OwnNode> {
  return client.request({ verb: 'get', path: pathOf(name), signal }, schema);
}

/** Sets one annotation, and leaves the others as they are. @throws AgentError as KubeClient.request */
export async function annotateNode(
  client: Client,
  { name, key, value }: { readonly name: string; readonly key: string; readonly value: string },
  signal: AbortSignal,
): Promise<void> {
  const body = { metadata: { annotations: { [key]: value } } };
  await client.request({ verb: 'patch', path: pathOf(name), body, signal }, v.unknown());
}

function pathOf(name: string): string {
  return `/api/v1/nodes/${encodeURIComponent(name)}`;
}
