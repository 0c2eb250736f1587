import * as v from 'valibot';
import type { NodeAddress } from '../core/enroller-protocol.ts';
import type { Failure } from '../core/errors.ts';
import type { FollowEnvironment } from './follow.ts';
import { follow } from './follow.ts';

const collection = '/api/v1/nodes';

/** core/v1 Node, as far as it is looked at. */
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
  /** Called with the addresses at the start and after each change; with none while the Node is absent. */
  readonly onAddresses: (addresses: readonly NodeAddress[]) => void;
  readonly onTrouble?: (failure: Failure) => void;
  readonly signal: AbortSignal;
}

/**
 * Reports the Node's addresses until the signal fires. The kubelet updates the
 * Node's status every few minutes without changing them; only changes are passed on.
 * @throws AgentError ABORTED
 */
export async function watchNodeAddresses(
  environment: FollowEnvironment,
  { nodeName, onAddresses, onTrouble, signal }: WatchAddressesOptions,
): Promise<never> {
  let last: string | undefined;
  return follow<v.InferOutput<typeof nodeSchema>, never>(environment, {
    target: { path: collection, name: nodeName, schema: nodeSchema },
    look: (node) => {
      const addresses = node?.addresses ?? [];
      const seen = JSON.stringify(addresses);
      if (seen !== last) onAddresses(addresses);
      last = seen;
      return undefined;
    },
    onTrouble,
    signal,
  });
}
