import type { AgentConfig } from '../core/config.ts';
import type { Failure } from '../core/errors.ts';
import { second } from '../core/instant.ts';
import { discoverRemedy } from '../core/remedies.ts';
import { hostNameProblem } from '../core/host-name.ts';
import { formatHostPort } from '../core/host-port.ts';
import type { DoctorFinding } from '../core/findings.ts';
import { isUnknownAuthority } from '../kube/server-certificate.ts';
import type { AgentFacts, MetricsPort } from './agent.ts';
import { agentFindings, lockHolder, writerOfState } from './agent.ts';
import type { ConnectionFacts } from './connection.ts';
import { connectionFindings, openingFindings, trustLostFinding } from './connection.ts';
import type { CheckResult, CheckContext } from './check.ts';
import { runCheck, evaluate, valueOf } from './check.ts';
import type { FileFacts } from './files.ts';
import { fileCheck, fileFindings, inspectFiles, needsBootstrap } from './files.ts';
import type { InventoryFacts } from './inventory.ts';
import { inventoryFindings } from './inventory.ts';
import { permissionFindings } from './permissions.ts';
import type { ServerFacts, ServerOptions } from './server.ts';
import { askAboutBootstrap, askServer } from './server.ts';
import { requestFindings } from './requests.ts';
import type { TrustFacts } from './trust.ts';
import { knownPins, trustFindings } from './trust.ts';

export interface DoctorOptions extends ServerOptions, CheckContext {
  readonly metricsPort: () => Promise<MetricsPort>;
  /** The CAs that this node trusts. */
  readonly trust: () => Promise<TrustFacts>;
  /** The certificates in the files of this node and at its endpoints. */
  readonly inventory: (signal: AbortSignal) => Promise<InventoryFacts>;
}

export interface DoctorResult {
  readonly findings: readonly DoctorFinding[];
  /** The API server, and the identity it assigned; absent without a response. */
  readonly server?: string;
  readonly username?: string;
}

const trustName = 'the trusted CAs';
const inventoryName = 'the certificates of the node';
/** Enough for thousands of files; the endpoints take three seconds at most. */
const inventoryMs = 30 * second;

/**
 * Runs every check, each with its own timeout and independent of the others, and returns
 * the findings. Changes nothing.
 */
export async function runDoctor(options: DoctorOptions): Promise<DoctorResult> {
  const { config, clock } = options;
  const [local, agent, remote, trust, inventory] = await Promise.all([
    inspectFiles(config, options),
    runCheck(
      fileCheck('the agent', () => inspectAgent(options)),
      options,
    ),
    askServer(options, options),
    runCheck(fileCheck(trustName, options.trust), options),
    runCheck(
      {
        what: inventoryName,
        timeoutMs: inventoryMs,
        timeoutCode: 'STORE_IO',
        inspect: options.inventory,
      },
      options,
    ),
  ]);
  const bootstrap = await bootstrapWithServerFacts(local.bootstrap, options);
  const now = clock.now();
  const findings = [
    ...fileFindings({ ...local, bootstrap }, { config, now }),
    ...serverFindings(remote, {
      config,
      now,
      trustLost: isTrustLost({ ...local, remote }, options),
      trust: valueOf(trust),
    }),
    ...evaluate(trustName, trust, (facts) => trustFindings(facts, now)),
    ...evaluate('the agent', agent, agentFindings),
    ...evaluate(inventoryName, inventory, inventoryFindings),
    ...hostNameFindings(config),
  ].filter(({ id }) => config.placeholderHostName === undefined || id !== 'node-name-mismatch');
  return { findings, ...addressee(valueOf(remote.connection)) };
}

function hostNameFindings(config: AgentConfig): DoctorFinding[] {
  const problem = hostNameProblem(config);
  if (problem === undefined) return [];
  const { message: what, remedy } = problem;
  return [
    {
      id: 'host-name-missing',
      severity: 'error',
      what,
      why: 'Other machines have the same host name, and the name of a Node cannot be changed later',
      remedy,
    },
  ];
}

async function bootstrapWithServerFacts(
  bootstrap: FileFacts['bootstrap'],
  options: DoctorOptions,
): Promise<FileFacts['bootstrap']> {
  const facts = valueOf(bootstrap);
  if (facts === undefined) return bootstrap;
  return { kind: 'done', value: await askAboutBootstrap(facts, options, options) };
}

function serverFindings(
  { connection, permissions, requests }: ServerFacts,
  {
    config,
    now,
    trustLost,
    trust,
  }: {
    readonly config: AgentConfig;
    readonly now: number;
    readonly trustLost: boolean;
    readonly trust: TrustFacts | undefined;
  },
): DoctorFinding[] {
  const { nodeName } = config;
  const pins = knownPins(trust);
  if (connection.kind === 'failed') {
    return [
      ...(trustLost
        ? [trustLostFinding(connection.failure, { config, pins })]
        : openingFindings(connection.failure)),
      notAsked(`there is no usable credential: ${connection.failure.message}`),
    ];
  }
  const { identity, server } = connection.value;
  if (trustLost && identity.kind === 'failed') {
    return [
      trustLostFinding(identity.failure, { config, server, pins }),
      notAsked('the API server gave no usable response'),
    ];
  }
  return [
    ...connectionFindings(connection.value, {
      nodeName,
      ...(trust?.clientIssuer && { clientIssuer: trust.clientIssuer }),
      discover: discoverRemedy(config, server, pins),
    }),
    ...evaluateIfDone('permissions', permissions, (facts) => permissionFindings(facts, nodeName)),
    ...evaluateIfDone('requests', requests, (facts) => requestFindings(facts, now)),
    ...(permissions === undefined ? [notAsked('the API server gave no usable response')] : []),
  ];
}

/**
 * The node has joined a cluster before, and cannot verify its API server now. While it has a valid
 * certificate, this is only true if the API server uses another CA: other problems are the server's.
 */
function isTrustLost(
  { remote, ...local }: FileFacts & { readonly remote: ServerFacts },
  { api, clock }: Pick<DoctorOptions, 'api' | 'clock'>,
): boolean {
  if (api.trustLost()) return true;
  const failure = failureOf(remote);
  if (failure === undefined || valueOf(local.kubeconfig)?.kind !== 'loaded') return false;
  const isUntrusted = failure.code === 'API_UNTRUSTED' || failure.code === 'CLUSTER_UNTRUSTED';
  return isUntrusted && (isUnknownAuthority(failure) || needsBootstrap(local, clock.now()));
}

/** Why there is no usable response; undefined if there is one. */
function failureOf({ connection }: ServerFacts): Failure | undefined {
  if (connection.kind === 'failed') return connection.failure;
  const { identity } = connection.value;
  return identity.kind === 'failed' ? identity.failure : undefined;
}

function evaluateIfDone<T>(
  what: string,
  facts: CheckResult<T> | undefined,
  judge: (facts: T) => DoctorFinding[],
): DoctorFinding[] {
  return facts === undefined ? [] : evaluate(what, facts, judge);
}

function notAsked(reason: string): DoctorFinding {
  return {
    id: 'not-checked',
    severity: 'info',
    subject: 'API server',
    what: `permissions and requests were not checked: ${reason}`,
  };
}

async function inspectAgent({ config, metricsPort }: DoctorOptions): Promise<AgentFacts> {
  const [holder, ours] = await Promise.all([lockHolder(config), writerOfState(config)]);
  return {
    directory: config.certificateDirectory,
    ...(holder !== undefined && { holder }),
    ...(ours !== undefined && { ours }),
    metricsAddress: formatHostPort(config.metrics),
    metricsPort: await metricsPort(),
  };
}

function addressee(
  connection: ConnectionFacts | undefined,
): Pick<DoctorResult, 'server' | 'username'> {
  if (connection === undefined) return {};
  const { server, identity } = connection;
  const who = valueOf(identity);
  return {
    server,
    ...(who !== undefined && who !== 'unknown' && { username: who.username }),
  };
}
