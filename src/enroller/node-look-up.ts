import type { AddressReply } from '../core/enroller-protocol.ts';
import { credentialFailures, hasCode, toFailure } from '../core/errors.ts';
import type { Failure } from '../core/errors.ts';
import { watchNodeAddresses } from '../kube/node-client.ts';
import type { Clock } from '../sys/clock.ts';
import type { ApiAccess } from './api-access.ts';

/**
 * Reports the Node's addresses at once. If the Node has none, because the kubelet has not
 * registered the Node yet, waits and reports each change. With `follow`, never stops. The first
 * failure ends the look-up, and the keeper schedules the retry.
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
  const done = new AbortController();
  const signal = AbortSignal.any([options.signal, done.signal]);
  const failed = (failure: Failure): void => {
    if (signal.aborted) return;
    done.abort();
    if (credentialFailures.has(failure.code)) access.invalidate();
    reply({ type: 'addresses-failed', failure });
  };
  try {
    await access.ready();
    await watchNodeAddresses(
      { client: () => access.current(), clock, random },
      {
        nodeName,
        signal,
        onRetry: failed,
        onAddresses: (addresses) => {
          const final = addresses.length > 0 && !follow;
          reply({ type: 'addresses', addresses, final });
          if (final) done.abort();
        },
      },
    );
  } catch (error) {
    if (!hasCode(error, 'ABORTED')) failed(toFailure(error));
  }
}
