import type { AddressReply } from '../core/enroller-protocol.ts';
import { AgentError, hasCode, toFailure } from '../core/errors.ts';
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
  let failure: Failure | undefined;
  const failed = (first: Failure): void => {
    if (signal.aborted) return;
    done.abort();
    failure = first;
  };
  try {
    await access.ready();
    if (hasIdentity && access.source === 'bootstrap') throw refusedError('read the Node');
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
  if (failure === undefined) return;
  reply({ type: 'addresses-failed', failure: await confirmed(failure, access) });
}

/**
 * Opens another client if another credential or another CA on this node may help, so that the keeper
 * hears whether it can request another certificate.
 */
async function confirmed(failure: Failure, access: ApiAccess): Promise<Failure> {
  if (!access.failed(failure)) return failure;
  try {
    await access.ready();
    return access.source === 'bootstrap' ? toFailure(refusedError('read the Node')) : failure;
  } catch (error) {
    return toFailure(error);
  }
}

/** A bootstrap credential may neither read Nodes nor request serving certificates, and a 403 would hide the cause. */
export function refusedError(what: string): AgentError {
  return new AgentError(
    'API_UNAUTHORIZED',
    `cannot ${what}: this node has no client certificate that the API server accepts`,
    { remedy: 'Wait for the next client certificate: nodecertd status' },
  );
}
