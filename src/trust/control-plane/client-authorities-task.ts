import { AgentError } from '../../core/errors.ts';
import { second } from '../../core/instant.ts';
import { isSameAuthority } from '../../core/trust-bundle.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { authorityName } from '../../core/trust.ts';
import { readAuthorities } from '../../kube/authorities.ts';
import type { ConfigMap, ConfigMapName } from '../../kube/config-map.ts';
import { configMapName, configMapPath, readConfigMap } from '../../kube/config-map.ts';
import { deleteObject } from '../../kube/object.ts';
import type { Clock } from '../../sys/clock.ts';
import type { RolloverAuthorities } from '../cluster/gate.ts';
import { sideNames } from '../cluster/gates/verdict.ts';
import type { ClusterObjects } from './cluster-tasks.ts';
import type { ClusterTask } from './task.ts';

interface RemovedAuthority extends Pick<RolloverAuthorities, 'old'> {
  readonly clients: ClientKind;
  /** With `abort`, the removed CA is the new one. By default `finish`. */
  readonly step?: 'finish' | 'abort';
}

interface WaitingObjects extends ClusterObjects {
  readonly clock: Clock;
}

const clientAuthorities: ConfigMapName = {
  namespace: 'kube-system',
  name: 'extension-apiserver-authentication',
};
export const configMapOfClients = configMapName(clientAuthorities);

/** Where the ConfigMap has the CAs of clients, by the CA that is replaced. Flags of kube-apiserver have the same names. */
export const clientKeys = {
  kubernetes: 'client-ca-file',
  'front-proxy': 'requestheader-client-ca-file',
} as const;
export type ClientKind = keyof typeof clientKeys;

/** API servers add their CAs to a ConfigMap that exists within a second. */
const settling = 3 * second;
const longestReturn = 30 * second;
const interval = second / 2;

/**
 * Deletes the ConfigMap with the CAs of the clients, from which API servers remove no CA, and waits
 * until they have created it again without the removed CA.
 * @throws AgentError as KubeClient.request
 */
export async function clientAuthoritiesTask(
  { client, clock, signal }: WaitingObjects,
  removed: RemovedAuthority,
): Promise<ClusterTask> {
  const found = await readConfigMap(client, clientAuthorities, signal);
  return {
    kind: 'cluster',
    name: configMapName(clientAuthorities),
    content: `deleted; the API servers create it again without ${nameOf(removed)}`,
    isDone: found === undefined || !hasOld(found, removed),
    run: async (stop) => {
      await deleteObject(client, configMapPath(clientAuthorities), stop);
      await untilReturned({ client, clock, signal: stop }, removed);
    },
  };
}

/** The CAs of clients, including those that API servers no longer accept. @throws AgentError as KubeClient.request */
export async function publishedClientAuthorities(
  { client, signal }: ClusterObjects,
  clients: ClientKind,
): Promise<readonly TrustAuthority[]> {
  const found = await readConfigMap(client, clientAuthorities, signal);
  return found === undefined ? [] : authoritiesFor(clients, found);
}

async function untilReturned(
  { client, clock, signal }: WaitingObjects,
  removed: RemovedAuthority,
): Promise<void> {
  const start = clock.elapsed();
  let returnedAt: number | undefined;
  for (;;) {
    const now = clock.elapsed();
    const found = await readConfigMap(client, clientAuthorities, signal);
    if (found !== undefined && hasOld(found, removed)) throw stillTrusted(removed);
    returnedAt = found === undefined ? undefined : (returnedAt ?? now);
    if (returnedAt !== undefined && now - returnedAt >= settling) return;
    if (now - start >= longestReturn) throw notReturned();
    await clock.sleep(interval, signal);
  }
}

function hasOld(found: ConfigMap, { old, clients }: RemovedAuthority): boolean {
  return authoritiesFor(clients, found).some((one) => isSameAuthority(one, old));
}

function authoritiesFor(clients: ClientKind, { data }: ConfigMap): readonly TrustAuthority[] {
  return readAuthorities(Buffer.from(data[clientKeys[clients]] ?? '')).authorities;
}

/** In words: the step `abort` removes the new CA. */
function nameOf({ step }: RemovedAuthority): string {
  return step === 'abort' ? sideNames.next : sideNames.old;
}

function stillTrusted(removed: RemovedAuthority): AgentError {
  const { old, clients, step = 'finish' } = removed;
  const name = nameOf(removed);
  return new AgentError(
    'API_CONFLICT',
    `an API server has added ${name} ${authorityName(old)} to ${configMapOfClients} again`,
    {
      remedy: `Find the API server that has ${name} in --${clientKeys[clients]}${clients === 'kubernetes' ? ': nodecertd ca-rollover status' : ''}. Run the step ${step} on its node, and then run this command again`,
    },
  );
}

function notReturned(): AgentError {
  return new AgentError(
    'API_NOT_FOUND',
    `no API server has created ${configMapName(clientAuthorities)} again within 30s`,
    { remedy: 'Read the log of kube-apiserver, and run this command again' },
  );
}
