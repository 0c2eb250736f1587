import { dirname, join } from 'node:path';
import type { PairFacts } from '../core/certificate.ts';
import type { AgentConfig } from '../core/config.ts';
import type { Failure } from '../core/errors.ts';
import { hasCode, toFailure } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { lockHolder } from '../doctor/agent.ts';
import { inspectBootstrap } from '../doctor/bootstrap.ts';
import type { KubeletLayers } from '../kubelet/configuration.ts';
import { readKubeletLayers } from '../kubelet/configuration.ts';
import { loadPair } from '../store/pair-file.ts';
import { updatedLink } from '../store/pair-names.ts';
import { unlessMissing } from '../sys/file-error.ts';
import type { KubeconfigFacts } from './kubeconfig-facts.ts';
import { readKubeconfigFacts } from './kubeconfig-facts.ts';
import { flagNamed } from '../kubelet/flags.ts';
import { findKubelets } from '../kubelet/process.ts';
import type { KubeletStart } from './kubelet-start.ts';
import { findKubeletStart, flaggedPath } from './kubelet-start.ts';
import type { Runs } from './runs.ts';
import { readRuns } from './runs.ts';
import type { Tree } from './tree.ts';
import type { KeptPair, Wanted } from './wanted.ts';
import { wantedOf } from './wanted.ts';

/** Everything that the plan is made of: what is on the node, and what the agent is told. */
export interface AdoptionFacts {
  readonly now: Instant;
  /** This machine, and not the image of another. */
  readonly live: boolean;
  readonly config: AgentConfig;
  readonly wanted: Wanted;
  readonly kubelet: KubeletStart;
  readonly paths: KubeletPaths;
  readonly configuration:
    | ({ readonly kind: 'read' } & KubeletLayers)
    | { readonly kind: 'invalid'; readonly failure: Failure };
  /** What stands in the place of the folder for drop-ins; absent when the kubelet is given none. */
  readonly dropInFolder?: 'missing' | 'link' | 'directory' | 'other';
  /** The texts of files that may have to be edited. */
  readonly texts: ReadonlyMap<string, string>;
  readonly kubeconfig: KubeconfigFacts;
  readonly client?: PairLook;
  readonly serving?: PairLook;
  /** The bootstrap kubeconfig of the agent loads, and its credential has not expired as far as it tells. */
  readonly canBootstrap: boolean;
  /** The agent that works on the certificate directory. */
  readonly agentPid?: number;
  readonly runs: Runs;
}

/** Where the kubelet looks. Without its command line: where the agent's configuration says. */
export interface KubeletPaths {
  readonly configFile?: string;
  readonly configDirectory?: string;
  /** Absent for a kubelet that runs without an API server. */
  readonly kubeconfig?: string;
  readonly bootstrapKubeconfig?: string;
  readonly certificateDirectory: string;
  /** Absent when neither a flag nor the host name tells. */
  readonly nodeName?: string;
}

/** What stands behind one `-current.pem`. */
export interface PairLook extends KeptPair {
  readonly pair?: PairFacts;
  readonly failure?: Failure;
  /** The kubelet has removed its link, and not yet moved the new one there. */
  readonly halfDone: boolean;
}

export interface FactsRequest {
  readonly tree: Tree;
  readonly config: AgentConfig;
  /** Of the node; absent when it is not known, as that of an image. */
  readonly hostName?: string | undefined;
  readonly now: Instant;
}

/** @throws AgentError for whatever keeps this user from looking */
export async function gatherFacts(request: FactsRequest): Promise<AdoptionFacts> {
  const { tree, config, hostName, now } = request;
  const live = tree.isMachine;
  const wanted = wantedOf(config);
  const kubelet = await findKubeletStart(tree, live ? await findKubelets(now) : []);
  const paths = kubeletPaths({ kubelet, config, hostName });
  const { configDirectory } = paths;
  const configuration = await readConfiguration(tree, paths);
  const kubeconfig = await readKubeconfigFacts(tree, {
    file: paths.kubeconfig ?? config.kubeconfig,
    link: wanted.client?.link,
  });
  const agentPid = live ? await lockHolder(config) : undefined;
  return {
    now,
    live,
    config,
    wanted,
    kubelet,
    paths,
    configuration,
    ...(configDirectory !== undefined && {
      dropInFolder: await folderKind(tree, configDirectory),
    }),
    texts: await textsOf(tree, { kubelet, configuration }),
    kubeconfig,
    ...(wanted.client && { client: await lookAtPair(tree, wanted.client) }),
    ...(wanted.serving && { serving: await lookAtPair(tree, wanted.serving) }),
    canBootstrap: live && (await canBootstrap(config, now)),
    ...(agentPid !== undefined && { agentPid }),
    runs: await readRuns(await adoptDirectory(tree, config)),
  };
}

/** Where the copies and records of all runs are, as this program opens it. */
export async function adoptDirectory(
  tree: Tree,
  { stateDirectory }: Pick<AgentConfig, 'stateDirectory'>,
): Promise<string> {
  return join((await tree.locate(stateDirectory)).physical, 'adopt');
}

/** The kubelet's own default (cmd/kubelet/app/options, NewKubeletFlags). */
const usualDirectory = '/var/lib/kubelet/pki';

function kubeletPaths({
  kubelet,
  config,
  hostName,
}: {
  readonly kubelet: KubeletStart;
  readonly config: AgentConfig;
  readonly hostName: string | undefined;
}): KubeletPaths {
  if (kubelet.source === 'unknown') {
    const { kubeconfig, nodeName } = config;
    const { deferToKubelet: _, ...paths } = config.kubelet;
    return { ...paths, kubeconfig, nodeName };
  }
  const at = (name: Parameters<typeof flaggedPath>[1]): string | undefined =>
    flaggedPath(kubelet, name);
  // As component-helpers' GetHostname has it.
  const override = flagNamed(kubelet.flags, 'hostname-override')?.value;
  const nodeName = (override === '' ? undefined : override) ?? hostName;
  const found = {
    configFile: at('config'),
    configDirectory: at('config-dir'),
    kubeconfig: at('kubeconfig'),
    bootstrapKubeconfig: at('bootstrap-kubeconfig'),
    nodeName: nodeName?.trim().toLowerCase(),
  };
  const given = Object.entries(found).filter(([, value]) => value !== undefined);
  return {
    certificateDirectory: at('cert-dir') ?? usualDirectory,
    ...(Object.fromEntries(given) as Partial<KubeletPaths>),
  };
}

async function readConfiguration(
  tree: Tree,
  { configFile, configDirectory }: KubeletPaths,
): Promise<AdoptionFacts['configuration']> {
  const locate = async (path: string): Promise<string> => (await tree.locate(path)).physical;
  try {
    const layers = await readKubeletLayers(
      // A kubelet without a file has none that could be missing.
      { configFile: configFile ?? '/dev/null/none', ...(configDirectory && { configDirectory }) },
      locate,
    );
    return { kind: 'read', ...layers };
  } catch (error) {
    if (!hasCode(error, 'CONFIG_INVALID')) throw error;
    return { kind: 'invalid', failure: toFailure(error) };
  }
}

/** filepath.WalkDir does not follow a link, but for a slash at its end. */
async function folderKind(
  tree: Tree,
  path: string,
): Promise<NonNullable<AdoptionFacts['dropInFolder']>> {
  return path.endsWith('/') ? tree.kindOf((await tree.locate(path)).path) : tree.kindOf(path);
}

async function textsOf(
  tree: Tree,
  { kubelet, configuration }: Pick<AdoptionFacts, 'kubelet' | 'configuration'>,
): Promise<ReadonlyMap<string, string>> {
  const origins = kubelet.flags.flatMap(({ words }) => words.map(({ origin }) => origin));
  const environment = origins.flatMap((origin) =>
    origin.kind === 'variable' && origin.plainFile ? [origin.file] : [],
  );
  const layers =
    configuration.kind === 'read' ? [configuration.main, ...configuration.dropIns] : [];
  const files = new Set([...environment, ...layers.flatMap((layer) => layer?.file ?? [])]);
  const texts = await Promise.all(
    [...files].map(async (file) => [file, await tree.readText(file)] as const),
  );
  return new Map(texts.flatMap(([file, text]) => (text === undefined ? [] : [[file, text]])));
}

async function lookAtPair(tree: Tree, kept: KeptPair): Promise<PairLook> {
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
