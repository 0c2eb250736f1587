import { join } from 'node:path';
import type { AgentConfig } from '../core/config.ts';
import type { Instant } from '../core/instant.ts';
import { second } from '../core/instant.ts';
import type { PreflightFinding } from '../core/findings.ts';
import { currentLink } from '../store/pair-names.ts';
import type { BootstrapFacts } from './bootstrap.ts';
import { judgeBootstrap, lookAtBootstrap } from './bootstrap.ts';
import type { DirectoryFacts } from './directory.ts';
import { judgeDirectory, lookAtDirectory } from './directory.ts';
import type { Gathered, Look, LookAround } from './gathered.ts';
import { gather, judged, known } from './gathered.ts';
import type { HookFacts } from './hooks.ts';
import { judgeHooks, lookAtHooks } from './hooks.ts';
import { judgeKubeconfig } from './judge-kubeconfig.ts';
import { judgeKubelet, judgeUnread } from './judge-kubelet.ts';
import type { KubeconfigState } from './kubeconfigs.ts';
import { lookAtKubeconfig } from './kubeconfigs.ts';
import type { KubeletFacts } from '../kubelet/configuration.ts';
import { readKubeletConfig } from '../kubelet/configuration.ts';
import { observedCertificates } from '../kubelet/rotation.ts';
import type { PairState } from './pairs.ts';
import { judgePairs, lookAtPairs, usableClientPair } from './pairs.ts';

/** What the files of the node say, without the API server. */
export interface LocalFacts {
  readonly directory: Gathered<DirectoryFacts>;
  readonly pairs: Gathered<readonly PairState[]>;
  readonly kubeconfig: Gathered<KubeconfigState>;
  /** Holds nothing when no bootstrap kubeconfig is configured. */
  readonly bootstrap: Gathered<BootstrapFacts | undefined>;
  readonly kubelet: Gathered<KubeletState>;
  readonly hooks: Gathered<HookFacts>;
}

interface KubeletState {
  readonly facts: KubeletFacts;
  readonly observed: ReadonlySet<string>;
}

/** Files answer at once, or hang on a dead network file system. */
const fileMs = 5 * second;

export function fileLook<T>(what: string, look: () => Promise<T>): Look<T> {
  return { what, ms: fileMs, timeoutCode: 'STORE_IO', look };
}

export async function lookLocally(config: AgentConfig, around: LookAround): Promise<LocalFacts> {
  const [directory, pairs, kubeconfig, bootstrap, kubelet, hooks] = await Promise.all([
    gather(
      fileLook('the certificate directory', () => lookAtDirectory(config)),
      around,
    ),
    gather(
      fileLook('the certificates', () => lookAtPairs(config)),
      around,
    ),
    gather(
      fileLook('the kubeconfig', () => lookAtKubeconfig(config.kubeconfig, clientLink(config))),
      around,
    ),
    gather(
      fileLook('the bootstrap kubeconfig', () => lookAtBootstrap(config)),
      around,
    ),
    gather(
      fileLook('the kubelet', () => lookAtKubelet(config)),
      around,
    ),
    gather(
      fileLook('the hooks', () => lookAtHooks(config)),
      around,
    ),
  ]);
  return { directory, pairs, kubeconfig, bootstrap, kubelet, hooks };
}

async function lookAtKubelet(config: AgentConfig): Promise<KubeletState> {
  const facts = await readKubeletConfig(config);
  return { facts, observed: await observedCertificates(config, facts) };
}

/** The `-current.pem` of the node's client certificate, if one is kept. */
function clientLink(config: AgentConfig): string | undefined {
  const client = config.certificates.find(({ profile }) => profile === 'kubelet-client');
  return client === undefined ? undefined : linkOf(config, client.name);
}

function linkOf({ certificateDirectory }: AgentConfig, name: string): string {
  return join(certificateDirectory, currentLink(name));
}

export function judgeLocal(
  facts: LocalFacts,
  { config, now }: { readonly config: AgentConfig; readonly now: Instant },
): PreflightFinding[] {
  const { nodeName, certificates } = config;
  const hasIdentity = usableClientPair(known(facts.pairs) ?? [], now) !== undefined;
  const needed = !hasIdentity && !hasOtherIdentity(known(facts.kubeconfig), now);
  const observed = known(facts.kubelet)?.observed ?? new Set();
  const hasBootstrap = config.bootstrapKubeconfig !== undefined;
  return [
    ...judged('the certificate directory', facts.directory, judgeDirectory),
    ...judged('the certificates', facts.pairs, (pairs) =>
      judgePairs(pairs, { nodeName, observed, now }),
    ),
    ...judged('the kubeconfig', facts.kubeconfig, (state) =>
      judgeKubeconfig(state, { now, pairLink: clientLink(config), hasIdentity, hasBootstrap }),
    ),
    ...judged('the bootstrap kubeconfig', facts.bootstrap, (bootstrap) =>
      bootstrap === undefined ? [] : judgeBootstrap(bootstrap, { now, nodeName, needed }),
    ),
    ...(facts.kubelet.kind === 'unknown'
      ? judgeUnread(facts.kubelet.failure)
      : judgeKubelet(facts.kubelet.value.facts, {
          certificates,
          observed: facts.kubelet.value.observed,
          linkOf: (name) => linkOf(config, name),
        })),
    ...judged('the hooks', facts.hooks, judgeHooks),
  ];
}

/** A kubeconfig that stands on its own, with a client certificate that has not expired. */
function hasOtherIdentity(state: KubeconfigState | undefined, now: Instant): boolean {
  if (state?.kind !== 'loaded') return false;
  return state.certificateExpiry !== undefined && now < state.certificateExpiry;
}
