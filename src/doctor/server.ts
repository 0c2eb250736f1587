import type { AgentConfig } from '../core/config.ts';
import { second } from '../core/instant.ts';
import { whoAmI } from '../kube/access-review.ts';
import { readBootstrapToken } from '../kube/bootstrap-token.ts';
import { listCsrs } from '../kube/csr-list.ts';
import { pluginTimeoutMs } from '../kube/exec-plugin.ts';
import { loadKubeconfig } from '../kube/kubeconfig.ts';
import { proxyFor } from '../kube/proxy.ts';
import { KubeClient } from '../kube/rest-client.ts';
import type { Clock } from '../sys/clock.ts';
import type { BootstrapFacts } from './bootstrap.ts';
import type { ApiConnection, ApiPort, ConnectionFacts } from './connection.ts';
import type { CheckResult, Check, CheckContext } from './check.ts';
import { runCheck } from './check.ts';
import type { PermissionFacts } from './permissions.ts';
import { askPermissions, neededPermissions } from './permissions.ts';
import type { RequestFacts } from './requests.ts';
import { isOfNode } from './requests.ts';

export interface ServerOptions {
  readonly config: AgentConfig;
  readonly version: string;
  readonly api: ApiPort;
  /** May read what nodes may not, such as the Secret of a bootstrap token. */
  readonly adminKubeconfig?: string | undefined;
}

/** What the API server says. */
export interface ServerFacts {
  /** Unknown when there is no credential to ask with. */
  readonly connection: CheckResult<ConnectionFacts>;
  /** These two are absent when nobody answered. */
  readonly permissions?: CheckResult<PermissionFacts>;
  readonly requests?: CheckResult<RequestFacts>;
}

/** For a few small requests in a row. */
const requestMs = 10 * second;
/** An exec plugin may have to be run first; its own limit ends it earlier, and names it. */
const credentialMs = pluginTimeoutMs + requestMs;
/** Thousands of requests in pages. */
const listMs = 30 * second;

/** Asks as the agent would. A server that does not answer is waited for once, not at every question. */
export async function askServer(
  options: ServerOptions,
  context: CheckContext,
): Promise<ServerFacts> {
  const { config, api } = options;
  const opened = await runCheck(
    {
      ...serverCheck('the credential', async (signal) => {
        const connection = await api.open();
        await connection.client.authenticate(signal);
        return connection;
      }),
      timeoutMs: credentialMs,
    },
    context,
  );
  if (opened.kind === 'failed') return { connection: opened };
  const own = opened.value;
  const connection = await connectionFacts(own, api, context);
  if (connection.identity.kind === 'failed') return { connection: done(connection) };
  const isOurs = isOfNode(config.nodeName);
  const [permissions, requests] = await Promise.all([
    runCheck(
      serverCheck('the permissions', (signal) =>
        askPermissions(own, neededPermissions(config, own.source), signal),
      ),
      context,
    ),
    runCheck(
      {
        ...serverCheck('the requests', (signal) => listCsrs(own.client, isOurs, signal)),
        timeoutMs: listMs,
      },
      context,
    ),
  ]);
  return { connection: done(connection), permissions, requests };
}

async function connectionFacts(
  { client, source }: ApiConnection,
  api: ApiPort,
  context: CheckContext,
): Promise<ConnectionFacts> {
  const identity = await runCheck(
    serverCheck('the API server', (signal) => whoAmI(client, signal)),
    context,
  );
  const skewMs = api.skewMs();
  const { cluster } = client.access;
  const proxy = proxyFor(cluster)?.label;
  return {
    server: cluster.server,
    source,
    identity,
    ...(proxy !== undefined && { proxy }),
    ...(skewMs !== undefined && { skewMs }),
  };
}

/** The bootstrap credential with what the cluster says of it: its bearer, and the Secret of a token. */
export async function askAboutBootstrap(
  facts: BootstrapFacts,
  options: ServerOptions,
  context: CheckContext,
): Promise<BootstrapFacts> {
  const { kubeconfig } = facts;
  if (kubeconfig.kind !== 'loaded') return facts;
  const { path, token } = kubeconfig;
  const identity = await runCheck(
    {
      ...serverCheck('the bootstrap credential', (signal) =>
        withClient(path, { ...options, ...context }, (client) => whoAmI(client, signal)),
      ),
      timeoutMs: credentialMs,
    },
    context,
  );
  const found = identity.kind === 'done' ? identity.value : identity.failure;
  const asked = { ...facts, ...(found !== 'unknown' && { identity: found }) };
  if (token?.kind !== 'bootstrap') return asked;
  // Bootstrappers are refused nearly everywhere: only the way to ask is the same.
  const reader = options.adminKubeconfig ?? path;
  const record = await runCheck(
    serverCheck('the bootstrap token', (signal) =>
      withClient(reader, { ...options, ...context }, (client) =>
        readBootstrapToken(client, token.id, signal),
      ),
    ),
    context,
  );
  return { ...asked, record: record.kind === 'done' ? record.value : 'unknown' };
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

function serverCheck<T>(what: string, inspect: (signal: AbortSignal) => Promise<T>): Check<T> {
  return { what, timeoutMs: requestMs, timeoutCode: 'API_TIMEOUT', inspect };
}

function done<T>(value: T): CheckResult<T> {
  return { kind: 'done', value };
}
