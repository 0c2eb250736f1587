import type { AgentConfig } from '../core/config.ts';
import type { PreflightFinding } from '../core/findings.ts';
import type { AgentFacts, MetricsPort } from './agent.ts';
import { judgeAgent, lockHolder, writerOfState } from './agent.ts';
import type { ConnectionFacts } from './connection.ts';
import { judgeConnection } from './connection.ts';
import type { Gathered, LookAround } from './gathered.ts';
import { gather, judged, known } from './gathered.ts';
import type { LocalFacts } from './local.ts';
import { fileLook, judgeLocal, lookLocally } from './local.ts';
import { judgePermissions } from './permissions.ts';
import type { RemoteFacts, RemoteOptions } from './remote.ts';
import { askBearer, askServer } from './remote.ts';
import { judgeRequests } from './requests.ts';

export interface PreflightOptions extends RemoteOptions, LookAround {
  readonly metricsPort: () => Promise<MetricsPort>;
}

export interface PreflightReport {
  readonly findings: readonly PreflightFinding[];
  /** Whom the API server was asked as; absent without an answer. */
  readonly server?: string;
  readonly username?: string;
}

/**
 * Looks at everything that can keep a node from its certificates, each within its own
 * time and whatever becomes of the others, and judges what was found. Changes nothing.
 */
export async function runPreflight(options: PreflightOptions): Promise<PreflightReport> {
  const { config, clock } = options;
  const [local, agent, remote] = await Promise.all([
    lookLocally(config, options),
    gather(
      fileLook('the agent', () => lookAtAgent(options)),
      options,
    ),
    askServer(options, options),
  ]);
  const bootstrap = await withBearer(local.bootstrap, options);
  const now = clock.now();
  const findings = [
    ...judgeLocal({ ...local, bootstrap }, { config, now }),
    ...judgeRemote(remote, { config, now }),
    ...judged('the agent', agent, judgeAgent),
  ];
  return { findings, ...addressee(known(remote.connection)) };
}

async function withBearer(
  bootstrap: LocalFacts['bootstrap'],
  options: PreflightOptions,
): Promise<LocalFacts['bootstrap']> {
  const facts = known(bootstrap);
  if (facts === undefined) return bootstrap;
  return { kind: 'known', value: await askBearer(facts, options, options) };
}

function judgeRemote(
  { connection, permissions, requests }: RemoteFacts,
  { config, now }: { readonly config: AgentConfig; readonly now: number },
): PreflightFinding[] {
  const { nodeName } = config;
  if (connection.kind === 'unknown') {
    return [notAsked(`there is no credential to ask with: ${connection.failure.message}`)];
  }
  return [
    ...judgeConnection(connection.value, nodeName),
    ...judgedIfAsked('permissions', permissions, (facts) => judgePermissions(facts, nodeName)),
    ...judgedIfAsked('requests', requests, (facts) => judgeRequests(facts, now)),
    ...(permissions === undefined ? [notAsked('the API server gave no usable answer')] : []),
  ];
}

function judgedIfAsked<T>(
  what: string,
  facts: Gathered<T> | undefined,
  judge: (facts: T) => PreflightFinding[],
): PreflightFinding[] {
  return facts === undefined ? [] : judged(what, facts, judge);
}

function notAsked(reason: string): PreflightFinding {
  return {
    id: 'not-checked',
    severity: 'info',
    subject: 'API server',
    what: `permissions and requests were not looked at: ${reason}`,
  };
}

async function lookAtAgent({ config, metricsPort }: PreflightOptions): Promise<AgentFacts> {
  const [holder, ours] = await Promise.all([lockHolder(config), writerOfState(config)]);
  const { host, port } = config.metrics;
  return {
    directory: config.certificateDirectory,
    ...(holder !== undefined && { holder }),
    ...(ours !== undefined && { ours }),
    metricsAddress: `${host.includes(':') ? `[${host}]` : host}:${port}`,
    metricsPort: await metricsPort(),
  };
}

function addressee(
  connection: ConnectionFacts | undefined,
): Pick<PreflightReport, 'server' | 'username'> {
  if (connection === undefined) return {};
  const { server, identity } = connection;
  const who = known(identity);
  return {
    server,
    ...(who !== undefined && who !== 'unknown' && { username: who.username }),
  };
}
