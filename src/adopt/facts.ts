import { dirname, join } from 'node:path';
import type { PairFacts } from '../core/certificate.ts';
import type { AgentConfig } from '../core/config.ts';
import type { Failure } from '../core/errors.ts';
import { AgentError, hasCode, toFailure } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { externalFile } from '../core/trust.ts';
import { lockHolder } from '../doctor/agent.ts';
import { inspectBootstrap } from '../doctor/bootstrap.ts';
import type { KubeletLayers } from '../kubelet/configuration.ts';
import { readKubeletLayers } from '../kubelet/configuration.ts';
import type { KubeletFlag, SettingKey } from '../kubelet/flags.ts';
import {
  defaultCertificateDirectory,
  flagNamed,
  flagValue,
  flaggedPath,
  settingFlags,
} from '../kubelet/flags.ts';
import type { KubeletStart } from '../kubelet/start.ts';
import { flagLines } from '../kubelet/start.ts';
import { loadPair } from '../store/pair-file.ts';
import { updatedLink } from '../store/pair-names.ts';
import { unlessMissing } from '../sys/file-error.ts';
import type { Tree } from '../sys/tree.ts';
import type { KubeconfigFacts } from './kubeconfig-facts.ts';
import { readKubeconfigFacts } from './kubeconfig-facts.ts';
import type { Runs } from '../store/run-folder.ts';
import { readRuns } from '../store/run-folder.ts';
import type { KeptPair, Targets } from './targets.ts';
import { targetsOf } from './targets.ts';

/** The input of a plan: the state of the node, and the agent's configuration. */
export interface AdoptionFacts {
  readonly now: Instant;
  /** True for this machine, false for an image. */
  readonly live: boolean;
  readonly config: AgentConfig;
  readonly targets: Targets;
  readonly kubelet: KubeletStart;
  readonly overriding: readonly OverridingFlag[];
  readonly paths: KubeletPaths;
  readonly configuration:
    | ({ readonly kind: 'read' } & KubeletLayers)
    | { readonly kind: 'invalid'; readonly failure: Failure };
  /**
   * The kind of file at the path of --config-dir; absent when the kubelet is started without it.
   */
  readonly dropInFolder?: 'missing' | 'link' | 'directory' | 'other';
  readonly kubeconfig: KubeconfigFacts;
  readonly client?: PairState;
  readonly serving?: PairState;
  /**
   * True if the agent can load its bootstrap kubeconfig, and its token or certificate has not
   * expired.
   */
  readonly canBootstrap: boolean;
  /** The agent that holds the lock of the certificate directory. */
  readonly agentPid?: number;
  readonly runs: Runs;
}

/** A flag that contradicts a target setting: the kubelet obeys the flag, not its files. */
export interface OverridingFlag extends KubeletFlag {
  /**
   * The lines that set the flag, such as `line 3 of /etc/default/kubelet`; empty if the search
   * found none.
   */
  readonly lines: readonly string[];
}

/** The paths of the kubelet, or of the agent's configuration when the command line is unknown. */
export interface KubeletPaths {
  readonly configFile: string | undefined;
  readonly configDirectory: string | undefined;
  /** Undefined for a kubelet that runs without an API server. */
  readonly kubeconfig: string | undefined;
  readonly bootstrapKubeconfig: string | undefined;
  readonly certificateDirectory: string;
  /** Undefined without a flag and a host name. */
  readonly nodeName: string | undefined;
}

/** The key pair behind one `-current.pem`. */
export interface PairState extends KeptPair {
  readonly pair?: PairFacts;
  readonly failure?: Failure;
  /** True if the kubelet has removed its current link and has not yet renamed the new link. */
  readonly halfDone: boolean;
}

export interface FactsRequest {
  readonly tree: Tree;
  readonly config: AgentConfig;
  /** Returns the start of the kubelet: found on this machine, unknown for an image. */
  readonly findKubelet: () => Promise<KubeletStart>;
  /** The host name of the node; absent for an image without one. */
  readonly hostName?: string | undefined;
  readonly now: Instant;
}

/** @throws AgentError STORE_PERMISSIONS */
async function runningAgent(config: AgentConfig): Promise<number | undefined> {
  const holder = await lockHolder(config);
  if (holder !== 'hidden') return holder;
  const { certificateDirectory } = config;
  const message = `this user may not see whether an agent is running for ${certificateDirectory}`;
  throw new AgentError('STORE_PERMISSIONS', message, { remedy: 'Run the command as root' });
}

/** @throws AgentError when a file or folder cannot be read */
export async function gatherFacts(request: FactsRequest): Promise<AdoptionFacts> {
  const { tree, config, now } = request;
  const live = tree.isMachine;
  const targets = targetsOf(config);
  const kubelet = await request.findKubelet();
  const paths = kubeletPaths(kubelet, request);
  const { configDirectory } = paths;
  const kubeconfigFile = paths.kubeconfig ?? config.kubeconfig;
  const agentPid = live ? await runningAgent(config) : undefined;
  return {
    now,
    live,
    config,
    targets,
    kubelet,
    overriding: await overridingFlags(kubelet, targets),
    paths,
    configuration: await readConfiguration(tree, paths),
    ...(configDirectory !== undefined && {
      dropInFolder: await folderKind(tree, configDirectory),
    }),
    kubeconfig: await readKubeconfigFacts(tree, {
      file: kubeconfigFile,
      link: targets.client?.link,
      authorityFile:
        config.trust?.externalize === true
          ? join(config.certificateDirectory, externalFile)
          : undefined,
    }),
    ...(targets.client && { client: await readPair(tree, targets.client) }),
    ...(targets.serving && { serving: await readPair(tree, targets.serving) }),
    canBootstrap: live && (await canBootstrap(config, now)),
    ...(agentPid !== undefined && { agentPid }),
    runs: await readRuns(await adoptDirectory(tree, config)),
  };
}

/** The folder of all copies and manifests, as this program opens it. */
export async function adoptDirectory(
  tree: Tree,
  { stateDirectory }: Pick<AgentConfig, 'stateDirectory'>,
): Promise<string> {
  return join((await tree.locate(stateDirectory)).physical, 'adopt');
}

/** True for a key pair with which the node can authenticate now. */
export function isUsable({ pair, spec }: PairState, now: Instant): boolean {
  if (pair === undefined || pair.selfSigned) return false;
  const { commonName } = pair.subject;
  return commonName === spec.subject.commonName && pair.notBefore <= now && now < pair.notAfter;
}

/**
 * Includes flags that a later flag overrides: they take effect when an operator removes the
 * later flag.
 */
async function overridingFlags(
  { flags, files }: KubeletStart,
  { settings }: Targets,
): Promise<OverridingFlag[]> {
  const keys = Object.keys(settingFlags) as SettingKey[];
  const contrary = keys.flatMap((key) =>
    flags.filter(
      (flag) =>
        settings.has(key) &&
        flag.name === settingFlags[key] &&
        flagValue(flag) !== settings.get(key),
    ),
  );
  return Promise.all(
    contrary.map(async (flag) => ({ ...flag, lines: await flagLines(files, flag.name) })),
  );
}

function kubeletPaths(
  kubelet: KubeletStart,
  { tree, config, hostName }: FactsRequest,
): KubeletPaths {
  if (kubelet.source === 'unknown') {
    const { configFile, configDirectory, certificateDirectory } = config.kubelet;
    const isNameKnown = tree.isMachine || hostName !== undefined;
    return {
      configFile,
      configDirectory,
      kubeconfig: config.kubeconfig,
      bootstrapKubeconfig: undefined,
      certificateDirectory,
      nodeName: isNameKnown ? config.nodeName : undefined,
    };
  }
  // Like GetHostname of k8s.io/component-helpers.
  const nodeName = (flagNamed(kubelet.flags, 'hostname-override')?.value || hostName)
    ?.trim()
    .toLowerCase();
  return {
    configFile: flaggedPath(kubelet, 'config'),
    configDirectory: flaggedPath(kubelet, 'config-dir'),
    kubeconfig: flaggedPath(kubelet, 'kubeconfig'),
    bootstrapKubeconfig: flaggedPath(kubelet, 'bootstrap-kubeconfig'),
    certificateDirectory: flaggedPath(kubelet, 'cert-dir') ?? defaultCertificateDirectory,
    nodeName,
  };
}

async function readConfiguration(
  tree: Tree,
  paths: KubeletPaths,
): Promise<AdoptionFacts['configuration']> {
  const locate = async (path: string): Promise<string> => (await tree.locate(path)).physical;
  try {
    return { kind: 'read', ...(await readKubeletLayers(paths, locate)) };
  } catch (error) {
    if (!hasCode(error, 'CONFIG_INVALID')) throw error;
    return { kind: 'invalid', failure: toFailure(error) };
  }
}

/** filepath.WalkDir follows a link only when the path ends in a slash. */
async function folderKind(
  tree: Tree,
  path: string,
): Promise<NonNullable<AdoptionFacts['dropInFolder']>> {
  return path.endsWith('/') ? tree.kindOf((await tree.locate(path)).path) : tree.kindOf(path);
}

async function readPair(tree: Tree, kept: KeptPair): Promise<PairState> {
  const { link, spec } = kept;
  const updated = join(dirname(link), updatedLink(spec.name));
  const halfDone =
    (await tree.kindOf(link)) === 'missing' && (await tree.kindOf(updated)) === 'link';
  const { physical } = await tree.locate(link);
  try {
    const found = await unlessMissing(() => loadPair(physical));
    return { ...kept, halfDone, ...(found !== undefined && { pair: found.facts }) };
  } catch (error) {
    return { ...kept, halfDone, failure: toFailure(error) };
  }
}

async function canBootstrap(config: AgentConfig, now: Instant): Promise<boolean> {
  const kubeconfig = (await inspectBootstrap(config))?.kubeconfig;
  if (kubeconfig?.kind !== 'loaded') return false;
  const { token, certificateExpiry } = kubeconfig;
  const end = (token?.kind === 'other' ? token.expiry : undefined) ?? certificateExpiry;
  return end === undefined || now < end;
}
