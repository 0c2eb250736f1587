import type { AddressReply } from '../core/enroller-protocol.ts';
import { AgentError, credentialFailures, hasCode, toFailure } from '../core/errors.ts';
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
  /** This agent manages the client certificate, with which a node reads its own Node. */
  readonly hasIdentity: boolean;
  readonly nodeName: string;
  readonly follow: boolean;
  readonly clock: Clock;
  readonly random: () => number;
  readonly reply: (reply: AddressReply) => void;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { access, hasIdentity, nodeName, follow, clock, random, reply } = options;
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
    if (hasIdentity && access.source === 'bootstrap') throw refused();
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

/** A bootstrap token may not read Nodes, and a 403 would hide the cause. */
function refused(): AgentError {
  return new AgentError(
    'API_UNAUTHORIZED',
    'cannot read the Node: this node has no client certificate that the API server accepts',
    { remedy: 'Wait for the next client certificate: nodecertd status' },
  );
}
