import type { AddressReply } from '../core/enroller-protocol.ts';
import { hasCode, toFailure } from '../core/errors.ts';
import type { Failure } from '../core/errors.ts';
import { watchNodeAddresses } from '../kube/node-client.ts';
import type { Clock } from '../sys/clock.ts';
import type { ApiAccess } from './api-access.ts';
import { doubtful } from './api-access.ts';

/**
 * Reports the Node's addresses: at once, and again at each change for as long as
 * there are none (the kubelet may not have registered the Node yet), or without end.
 * The first failure ends it: why there are no addresses is for the keeper to say,
 * and when to look again for it to decide.
 */
export async function lookUpAddresses(options: {
  readonly access: ApiAccess;
  readonly nodeName: string;
  readonly follow: boolean;
  readonly clock: Clock;
  readonly random: () => number;
  readonly reply: (reply: AddressReply) => void;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { access, nodeName, follow, clock, random, reply } = options;
  const over = new AbortController();
  const signal = AbortSignal.any([options.signal, over.signal]);
  const failed = (failure: Failure): void => {
    if (signal.aborted) return;
    over.abort();
    if (doubtful.has(failure.code)) access.doubt();
    reply({ type: 'addresses-failed', failure });
  };
  try {
    await access.ready();
    await watchNodeAddresses(
      { client: () => access.current(), clock, random },
      {
        nodeName,
        signal,
        onTrouble: failed,
        onAddresses: (addresses) => {
          const final = addresses.length > 0 && !follow;
          reply({ type: 'addresses', addresses, final });
          if (final) over.abort();
        },
      },
    );
  } catch (error) {
    if (!hasCode(error, 'ABORTED')) failed(toFailure(error));
  }
}
