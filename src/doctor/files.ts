import { join } from 'node:path';
import type { PairFacts } from '../core/certificate.ts';
import type { AgentConfig } from '../core/config.ts';
import type { Instant } from '../core/instant.ts';
import { second } from '../core/instant.ts';
import type { DoctorFinding } from '../core/findings.ts';
import { currentLink } from '../core/certificate-spec.ts';
import type { BootstrapFacts } from './bootstrap.ts';
import { bootstrapFindings, inspectBootstrap } from './bootstrap.ts';
import type { DirectoryFacts } from './directory.ts';
import { directoryFindings, inspectDirectory } from './directory.ts';
import type { CheckResult, Check, CheckContext } from './check.ts';
import { runCheck, evaluate, valueOf } from './check.ts';
import type { HookFacts } from './hooks.ts';
import { hookFindings, inspectHooks } from './hooks.ts';
import { kubeconfigFindings } from './kubeconfig-findings.ts';
import { kubeletFindings, unreadKubeletFindings } from './kubelet-findings.ts';
import type { KubeconfigState } from './kubeconfig-state.ts';
import { inspectNodeKubeconfig } from './kubeconfig-state.ts';
import type { KubeletFacts } from '../kubelet/configuration.ts';
import { observedCertificates, readKubelet } from '../kubelet/rotation.ts';
import type { BootstrapFile } from './leftovers.ts';
import { inspectLeftovers, leftoverFindings } from './leftovers.ts';
import type { PairState } from './pairs.ts';
import { pairFindings, inspectPairs, usableClientPair } from './pairs.ts';
import type { TokenFileState } from './token-file.ts';
import { inspectTokenFile, tokenFileFindings } from './token-file.ts';

/** The results of the checks that read files and need no API server. */
export interface FileFacts {
  readonly directory: CheckResult<DirectoryFacts>;
  readonly pairs: CheckResult<readonly PairState[]>;
  readonly kubeconfig: CheckResult<KubeconfigState>;
  /** The value is undefined if no bootstrap kubeconfig is configured. */
  readonly bootstrap: CheckResult<BootstrapFacts | undefined>;
  /** The value is undefined without `bootstrap.discovery`. */
  readonly tokenFile: CheckResult<TokenFileState | undefined>;
  readonly leftovers: CheckResult<readonly BootstrapFile[]>;
  readonly kubelet: CheckResult<KubeletState>;
  readonly hooks: CheckResult<HookFacts>;
}

interface KubeletState {
  readonly facts: KubeletFacts;
  readonly observed: ReadonlySet<string>;
}

/** Reads finish at once or hang on a dead network file system. */
const timeoutMs = 5 * second;

export function fileCheck<T>(what: string, inspect: () => Promise<T>): Check<T> {
  return { what, timeoutMs, timeoutCode: 'STORE_IO', inspect };
}

export async function inspectFiles(config: AgentConfig, context: CheckContext): Promise<FileFacts> {
  const [directory, pairs, kubeconfig, bootstrap, tokenFile, leftovers, kubelet, hooks] =
    await Promise.all([
      runCheck(
        fileCheck('the certificate directory', () => inspectDirectory(config)),
        context,
      ),
      runCheck(
        fileCheck('the certificates', () => inspectPairs(config)),
        context,
      ),
      runCheck(
        fileCheck('the kubeconfig', () =>
          inspectNodeKubeconfig(config, { pairLink: clientLink(config), clock: context.clock }),
        ),
        context,
      ),
      runCheck(
        fileCheck('the bootstrap kubeconfig', () => inspectBootstrap(config)),
        context,
      ),
      runCheck(
        fileCheck('the token file', () => inspectTokenFile(config)),
        context,
      ),
      runCheck(
        fileCheck('the files of the bootstrap', () => inspectLeftovers(config)),
        context,
      ),
      runCheck(
        fileCheck('the kubelet', () => inspectKubelet(config)),
        context,
      ),
      runCheck(
        fileCheck('the hooks', () => inspectHooks(config)),
        context,
      ),
    ]);
  return { directory, pairs, kubeconfig, bootstrap, tokenFile, leftovers, kubelet, hooks };
}

async function inspectKubelet(config: AgentConfig): Promise<KubeletState> {
  const facts = await readKubelet(config);
  return { facts, observed: await observedCertificates(config, facts) };
}

/** The `-current.pem` link of the client certificate, if the agent manages one. */
function clientLink(config: AgentConfig): string | undefined {
  const client = config.certificates.find(({ profile }) => profile === 'kubelet-client');
  return client === undefined ? undefined : linkOf(config, client.name);
}

function linkOf({ certificateDirectory }: AgentConfig, name: string): string {
  return join(certificateDirectory, currentLink(name));
}

export function fileFindings(
  facts: FileFacts,
  { config, now }: { readonly config: AgentConfig; readonly now: Instant },
): DoctorFinding[] {
  const { nodeName, certificates, bootstrap } = config;
  const { deleteAfterUse, discovery } = bootstrap;
  const ownPair = usablePair(facts, now);
  const hasIdentity = ownPair !== undefined;
  const needed = needsBootstrap(facts, now);
  const observed = valueOf(facts.kubelet)?.observed ?? new Set();
  const hasBootstrap = config.bootstrapKubeconfig !== undefined || discovery !== undefined;
  const isOptional = discovery !== undefined || (deleteAfterUse && !needed);
  return [
    ...evaluate('the certificate directory', facts.directory, directoryFindings),
    ...evaluate('the certificates', facts.pairs, (pairs) =>
      pairFindings(pairs, { nodeName, observed, now }),
    ),
    ...evaluate('the kubeconfig', facts.kubeconfig, (state) =>
      kubeconfigFindings(state, { now, pairLink: clientLink(config), hasIdentity, hasBootstrap }),
    ),
    ...evaluate('the bootstrap kubeconfig', facts.bootstrap, (found) =>
      found === undefined ? [] : bootstrapFindings(found, { now, nodeName, needed, isOptional }),
    ),
    ...evaluate('the token file', facts.tokenFile, (found) =>
      found === undefined ? [] : tokenFileFindings(found, { needed, deleteAfterUse }),
    ),
    ...evaluate('the files of the bootstrap', facts.leftovers, (found) =>
      leftoverFindings(found, ownPair),
    ),
    ...(facts.kubelet.kind === 'failed'
      ? unreadKubeletFindings(facts.kubelet.failure)
      : kubeletFindings(facts.kubelet.value.facts, {
          certificates,
          observed: facts.kubelet.value.observed,
          linkOf: (name) => linkOf(config, name),
        })),
    ...evaluate('the hooks', facts.hooks, hookFindings),
  ];
}

function usablePair({ pairs }: FileFacts, now: Instant): PairFacts | undefined {
  return usableClientPair(valueOf(pairs) ?? [], now);
}

/** The node has no usable certificate. */
export function needsBootstrap(facts: FileFacts, now: Instant): boolean {
  return usablePair(facts, now) === undefined && !hasOtherIdentity(valueOf(facts.kubeconfig), now);
}

/** The kubeconfig has its own client certificate, and it has not expired. */
function hasOtherIdentity(state: KubeconfigState | undefined, now: Instant): boolean {
  if (state?.kind !== 'loaded') return false;
  return state.certificateExpiry !== undefined && now < state.certificateExpiry;
}
