import * as v from 'valibot';
import type { NodeAddress } from '../core/enroller-protocol.ts';
import type { Failure } from '../core/errors.ts';
import type { FollowEnvironment } from './follow.ts';
import { follow } from './follow.ts';

const collection = '/api/v1/nodes';

/** The fields of a core/v1 Node that this program reads. */
export const nodeSchema = v.pipe(
  v.object({
    metadata: v.object({ uid: v.string(), resourceVersion: v.string() }),
    status: v.nullish(
      v.object({
        addresses: v.nullish(v.array(v.object({ type: v.string(), address: v.string() })), []),
      }),
      {},
    ),
  }),
  v.transform(({ metadata, status }) => ({ ...metadata, addresses: status.addresses })),
);

export interface WatchAddressesOptions {
  readonly nodeName: string;
  /** Called with the addresses at the start and after each change; with an empty list while there is no Node. */
  readonly onAddresses: (addresses: readonly NodeAddress[]) => void;
  readonly onRetry?: (failure: Failure) => void;
  readonly signal: AbortSignal;
}

/**
 * Reports the Node's addresses until the signal fires. The kubelet updates the Node's status
 * every few minutes without changing the addresses, so only changes are reported.
 * @throws AgentError ABORTED
 */
export async function watchNodeAddresses(
  environment: FollowEnvironment,
  { nodeName, onAddresses, onRetry, signal }: WatchAddressesOptions,
): Promise<never> {
  let last: string | undefined;
  return follow<v.InferOutput<typeof nodeSchema>, never>(environment, {
    target: { path: collection, name: nodeName, schema: nodeSchema },
    observe: (node) => {
      const addresses = node?.addresses ?? [];
      const seen = JSON.stringify(addresses);
      if (seen !== last) onAddresses(addresses);
      last = seen;
      return undefined;
    },
    onRetry,
    signal,
  });
}
