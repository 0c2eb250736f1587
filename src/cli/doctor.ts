import { join } from 'node:path';
import type { Command } from 'commander';
import type { LoadedConfig } from '../config/load.ts';
import type { AgentConfig, TrustConfig } from '../core/config.ts';
import { hasErrno } from '../core/errors.ts';
import { version } from '../core/version.ts';
import { ApiAccess } from '../enroller/api-access.ts';
import type { MetricsPort } from '../doctor/agent.ts';
import type { ApiPort } from '../doctor/connection.ts';
import type { InventoryFacts } from '../doctor/inventory.ts';
import { runDoctor } from '../doctor/run.ts';
import type { TrustFacts } from '../doctor/trust.ts';
import { currentLink } from '../core/certificate-spec.ts';
import { causesOf } from '../pki/inventory/causes.ts';
import type { InventoryItem } from '../pki/inventory/inventory.ts';
import { defaultThreshold } from '../pki/inventory/judge.ts';
import { localInventory } from '../pki/inventory/local-inventory.ts';
import { isBelow } from '../pki/components/mount-table.ts';
import { defaultDirectories, keyFileOf } from '../pki/layout.ts';
import { sandboxNeeds } from '../pki/unattended/service-sandbox.ts';
import type { Clock } from '../sys/clock.ts';
import { isSamePath } from '../sys/same-path.ts';
import { issuerOf } from '../trust/node/issuer.ts';
import { currentLeaves } from '../trust/node/leaves.ts';
import { findPlaces } from '../trust/node/places.ts';
import { askAgent, fetchStatus } from './agent-status.ts';
import type { ConfigOptions } from './config-options.ts';
import { addConfigOptions, nodeFlags } from './config-options.ts';
import type { CliContext } from './context.ts';
import { userKubeconfigs } from './certs-options.ts';
import { loadNodeConfig } from './default-config.ts';
import { Progress } from './doctor-progress.ts';
import { doctorDocument, doctorExitCode, doctorExitCodeMeanings } from './doctor-report.ts';
import { doctorTable } from './doctor-table.ts';
import { canDrawLive, wantsColor } from './terminal.ts';
import type { OutputFormat } from './print.ts';
import { outputOption, print } from './print.ts';

interface DoctorOptions extends ConfigOptions {
  readonly output: OutputFormat;
  readonly kubernetesDir?: string;
  readonly adminKubeconfig?: string;
}

export const exitCodes = doctorExitCodeMeanings;

/** `nodecertd doctor`: runs all checks and shows each finding with its remedy. */
export function configure(
  command: Command,
  context: CliContext,
  exit: (code: number) => void,
): void {
  addConfigOptions(command, [...nodeFlags, 'metricsAddress']);
  command
    .option(
      '--admin-kubeconfig <file>',
      'kubeconfig of an administrator, used to read the expiry of the bootstrap token',
    )
    .option(
      '--kubernetes-dir <folder>',
      `folder of the kubeconfigs and manifests of the control plane (default: pki.directory, ${defaultDirectories.kubernetes})`,
    )
    .addOption(outputOption())
    .action(async ({ output, adminKubeconfig, kubernetesDir, ...options }: DoctorOptions) => {
      const { clock, stdout } = context;
      const config = await loadNodeConfig(options, context);
      const report = await runChecks(config, context, { adminKubeconfig, kubernetesDir });
      const color = canDrawLive(stdout, process.env) && wantsColor(process.env);
      const { nodeName, certificateDirectory } = config;
      const full = { ...report, nodeName, certificateDirectory, now: clock.now() };
      stdout.write(await print(output, doctorDocument(full), () => doctorTable(full, color)));
      exit(doctorExitCode(full));
    });
}

async function runChecks(
  config: LoadedConfig,
  { clock, stderr }: CliContext,
  {
    adminKubeconfig,
    kubernetesDir,
  }: {
    readonly adminKubeconfig: string | undefined;
    readonly kubernetesDir: string | undefined;
  },
): ReturnType<typeof runDoctor> {
  await using api = new AgentApi(config, clock);
  using progress = new Progress(stderr, clock).start();
  return await runDoctor({
    config,
    version,
    clock,
    // Ctrl-C simply ends the process: the doctor changes nothing, so there is nothing to clean up.
    signal: new AbortController().signal,
    onProgress: progress.note,
    api,
    metricsPort: () => inspectMetricsPort(config),
    trust: () => inspectTrust(config),
    inventory: (signal) =>
      inspectInventory(config, {
        kubernetesDir: kubernetesDir ?? config.pki?.directory ?? defaultDirectories.kubernetes,
        clock,
        signal,
      }),
    adminKubeconfig,
  });
}

async function inspectTrust(config: LoadedConfig): Promise<TrustFacts> {
  const { trust = readOnlyTrust } = config;
  const [{ places, findings }, answer] = await Promise.all([
    findPlaces({ config: { ...config, trust } }),
    askAgent(config),
  ]);
  const agent = answer.kind === 'running' ? answer.report.trustSync : undefined;
  const leaves = await currentLeaves(config);
  const client = leaves.find(({ spec }) => spec.profile === 'kubelet-client');
  const authorities = places.flatMap((place) => place.authorities);
  const clientIssuer = client && issuerOf(client.pem, authorities);
  return {
    places,
    ...(clientIssuer && { clientIssuer }),
    findings: config.trust === undefined ? [] : findings,
    ...(agent !== undefined && { agent }),
  };
}

/** Finds the files of the kubelet and of the control plane without a configuration. */
const readOnlyTrust: Pick<TrustConfig, 'kubeconfigs' | 'files' | 'externalize'> = {
  kubeconfigs: [],
  files: [],
  externalize: false,
};

/** Without the certificates and kubeconfigs of the agent, which have checks of their own. */
async function inspectInventory(
  config: AgentConfig,
  {
    kubernetesDir,
    clock,
    signal,
  }: { readonly kubernetesDir: string; readonly clock: Clock; readonly signal: AbortSignal },
): Promise<InventoryFacts> {
  const { items, now } = await localInventory({
    directories: { kubernetes: kubernetesDir, certificates: join(kubernetesDir, 'pki') },
    allKubeletPairs: false,
    kubeconfigs: userKubeconfigs(process.env),
    patterns: config.inventory.paths,
    keepDer: false,
    dial: true,
    threshold: defaultThreshold,
    now: clock.now(),
    signal,
    onProgress: () => undefined,
  });
  const { certificateDirectory, certificates, kubeconfig, bootstrapKubeconfig } = config;
  const checked = new Set([
    ...certificates.map(({ name }) => join(certificateDirectory, currentLink(name))),
    kubeconfig,
    bootstrapKubeconfig,
  ]);
  const others = items.filter(({ places }) => places.some(({ path }) => !checked.has(path)));
  const problems = causesOf({ items: others, now });
  const renewable = config.pki === undefined ? others.filter(isRenewable) : [];
  if (!renewable.some(isDue)) return { count: others.length, problems };
  const files = renewable.flatMap(filesOf).filter((file) => isBelow(file, kubernetesDir));
  return { count: others.length, problems, unattended: await sandboxNeeds(files) };
}

function isRenewable({ managedBy, authority }: InventoryItem): boolean {
  return managedBy === 'kubeadm' && authority?.external === false;
}

function isDue({ state }: InventoryItem): boolean {
  return state === 'expiring' || state === 'expired';
}

/** The files that hold a certificate and its key, also copies. */
function filesOf({ places }: InventoryItem): string[] {
  const paths = places.flatMap(({ path }) => path ?? []);
  return paths.flatMap((path) => (path.endsWith('.conf') ? [path] : [path, keyFileOf(path)]));
}

/** Uses the credential and the connection that the agent itself would choose. */
class AgentApi implements ApiPort, AsyncDisposable {
  readonly #access: ApiAccess;
  #skewMs: number | undefined;

  constructor(config: AgentConfig, clock: Clock) {
    const client = config.certificates.find(({ profile }) => profile === 'kubelet-client');
    this.#access = new ApiAccess({
      config,
      clientPair: client && join(config.certificateDirectory, currentLink(client.name)),
      version,
      clock,
      discover: async (...discovery) => {
        const { discoverCluster } = await import('../discovery/discover-cluster.ts');
        return discoverCluster(...discovery);
      },
      report: (report) => {
        if (report.type === 'clock-skew') this.#skewMs = report.ms;
      },
    });
  }

  async open(): ReturnType<ApiPort['open']> {
    await this.#access.ready();
    return { client: this.#access.current(), source: this.#access.source ?? 'kubeconfig' };
  }

  skewMs(): number | undefined {
    return this.#skewMs;
  }

  trustLost(): boolean {
    return this.#access.trustLost !== undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#access[Symbol.asyncDispose]();
  }
}

async function inspectMetricsPort({
  metrics,
  certificateDirectory,
}: AgentConfig): Promise<MetricsPort> {
  if (metrics.port === 0) return { kind: 'free' };
  try {
    const status = await fetchStatus(metrics);
    if (status === undefined) return { kind: 'taken', by: 'a program other than nodecertd' };
    const theirs = status.certificateDirectory;
    return (await isSamePath(theirs, certificateDirectory))
      ? { kind: 'ours' }
      : { kind: 'taken', by: `the agent with pid ${status.pid}, which manages ${theirs}` };
  } catch (error) {
    // A program that does not answer HTTP in time holds the port all the same.
    return hasErrno(error, 'ECONNREFUSED')
      ? { kind: 'free' }
      : { kind: 'taken', by: 'a program that does not answer' };
  }
}
