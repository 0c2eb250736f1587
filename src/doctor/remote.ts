import type { AgentConfig } from '../core/config.ts';
import { second } from '../core/instant.ts';
import { whoAmI } from '../kube/access-review.ts';
import { readBootstrapToken } from '../kube/bootstrap-token.ts';
import { listCsrs } from '../kube/csr-list.ts';
import { loadKubeconfig } from '../kube/kubeconfig.ts';
import { KubeClient } from '../kube/rest-client.ts';
import type { Clock } from '../sys/clock.ts';
import type { BootstrapFacts } from './bootstrap.ts';
import type { ApiConnection, ApiPort, ConnectionFacts } from './connection.ts';
import { identify } from './connection.ts';
import type { Gathered, Look, LookAround } from './gathered.ts';
import { gather } from './gathered.ts';
import type { PermissionFacts } from './permissions.ts';
import { askPermissions, neededPermissions } from './permissions.ts';
import type { RequestFacts } from './requests.ts';
import { isOfNode } from './requests.ts';

export interface RemoteOptions {
  readonly config: AgentConfig;
  readonly version: string;
  readonly api: ApiPort;
  /** May read what nodes may not, such as the Secret of a bootstrap token. */
  readonly adminKubeconfig?: string | undefined;
}

/** What the API server says. */
export interface RemoteFacts {
  /** Unknown when there is no credential to ask with. */
  readonly connection: Gathered<ConnectionFacts>;
  /** These two are absent when nobody answered. */
  readonly permissions?: Gathered<PermissionFacts>;
  readonly requests?: Gathered<RequestFacts>;
}

/** For a few small requests in a row. */
const requestMs = 10 * second;
/** Thousands of requests in pages. */
const listMs = 30 * second;

/** Asks as the agent would. A server that does not answer is waited for once, not at every question. */
export async function askServer(options: RemoteOptions, around: LookAround): Promise<RemoteFacts> {
  const { config, api } = options;
  const opened = await gather(
    online('the credential', () => api.open()),
    around,
  );
  if (opened.kind === 'unknown') return { connection: opened };
  const own = opened.value;
  const connection = await meet(own, api, around);
  if (connection.identity.kind === 'unknown') return { connection: toKnown(connection) };
  const isOurs = isOfNode(config.nodeName);
  const [permissions, requests] = await Promise.all([
    gather(
      online('the permissions', (signal) =>
        askPermissions(own, neededPermissions(config, own.source), signal),
      ),
      around,
    ),
    gather(
      { ...online('the requests', (signal) => listCsrs(own.client, isOurs, signal)), ms: listMs },
      around,
    ),
  ]);
  return { connection: toKnown(connection), permissions, requests };
}

async function meet(
  { client, source }: ApiConnection,
  api: ApiPort,
  around: LookAround,
): Promise<ConnectionFacts> {
  const identity = await gather(
    online('the API server', (signal) => identify(client, signal)),
    around,
  );
  const skewMs = api.skewMs();
  const { server } = client.access.cluster;
  return { server, source, identity, ...(skewMs !== undefined && { skewMs }) };
}

/** The bootstrap credential with what the cluster says of it: its bearer, and the Secret of a token. */
export async function askBearer(
  facts: BootstrapFacts,
  options: RemoteOptions,
  around: LookAround,
): Promise<BootstrapFacts> {
  const { kubeconfig } = facts;
  if (kubeconfig.kind !== 'loaded') return facts;
  const { path, token } = kubeconfig;
  const identity = await gather(
    online('the bootstrap credential', (signal) =>
      withClient(path, { ...options, ...around }, (client) => whoAmI(client, signal)),
    ),
    around,
  );
  const asked = {
    ...facts,
    identity: identity.kind === 'known' ? identity.value : identity.failure,
  };
  if (token?.kind !== 'bootstrap') return asked;
  // Bootstrappers are refused nearly everywhere: only the way to ask is the same.
  const reader = options.adminKubeconfig ?? path;
  const record = await gather(
    online('the bootstrap token', (signal) =>
      withClient(reader, { ...options, ...around }, (client) =>
        readBootstrapToken(client, token.id, signal),
      ),
    ),
    around,
  );
  return { ...asked, record: record.kind === 'known' ? record.value : 'unknown' };
}

async function withClient<T>(
  kubeconfig: string,
  { version, clock }: { readonly version: string; readonly clock: Clock },
  work: (client: KubeClient) => Promise<T>,
): Promise<T> {
  using access = await loadKubeconfig(kubeconfig);
  await using client = await KubeClient.open({ access, version, clock });
  return await work(client);
}

function online<T>(what: string, look: (signal: AbortSignal) => Promise<T>): Look<T> {
  return { what, ms: requestMs, timeoutCode: 'API_TIMEOUT', look };
}

function toKnown<T>(value: T): Gathered<T> {
  return { kind: 'known', value };
}
