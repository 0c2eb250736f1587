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
import { connect } from './connection.ts';
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
  /** For objects that nodes may not read, such as the Secret of a bootstrap token. */
  readonly adminKubeconfig?: string | undefined;
}

/** The results of the checks that ask the API server. */
export interface ServerFacts {
  /** Failed if there is no usable credential. */
  readonly connection: CheckResult<ConnectionFacts>;
  /** This and `requests` are absent if the API server did not respond. */
  readonly permissions?: CheckResult<PermissionFacts>;
  readonly requests?: CheckResult<RequestFacts>;
}

/** Enough for a few small requests in a row. */
const requestMs = 10 * second;
/** Includes the time limit of an exec plugin, which ends earlier with an error of its own. */
const credentialMs = pluginTimeoutMs + requestMs;
/** Enough for thousands of CSRs in pages. */
const listMs = 30 * second;

/** Asks with the agent's own credential. An API server that does not respond ends the checks after one timeout. */
export async function askServer(
  options: ServerOptions,
  context: CheckContext,
): Promise<ServerFacts> {
  const { config, api } = options;
  const opened = await runCheck(
    {
      ...serverCheck('the credential', (signal) => connect(api, signal)),
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

/** Adds what the cluster knows about the bootstrap credential: its identity, and the Secret of its token. */
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
  // Most clusters do not let the bootstrap credential read the Secret.
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
