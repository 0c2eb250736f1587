import type { Command } from 'commander';
import { AgentError } from '../core/errors.ts';
import { encodeCertificates } from '../core/pem.ts';
import { version } from '../core/version.ts';
import { clientLimits } from '../discovery/connection.ts';
import { discoverCluster } from '../discovery/discover-cluster.ts';
import type { DiscoveredBootstrap, DiscoveryContext } from '../discovery/discovery.ts';
import { credentialOf, discoverFromFile } from '../discovery/file-discovery.ts';
import { repeatUntil } from '../discovery/repeat.ts';
import type { ClusterAccess } from '../kube/cluster-access.ts';
import { Deadline } from '../kube/deadline.ts';
import { readNodeReadiness } from '../kube/node-readiness.ts';
import { KubeClient } from '../kube/rest-client.ts';
import { withRootRemedy } from '../pki/renewal/refusal.ts';
import type { BootstrapContent } from '../store/bootstrap-kubeconfig.ts';
import {
  planBootstrapFiles,
  requireReplaceable,
  writeBootstrapFiles,
} from '../store/bootstrap-kubeconfig.ts';
import type { CliContext } from './context.ts';
import type { DiscoverInput } from './discover-input.ts';
import { readDiscoverInput } from './discover-input.ts';
import type { DiscoverOptions } from './discover-options.ts';
import { addDiscoverOptions } from './discover-options.ts';
import type { DiscoverReport, FoundNode } from './discover-report.ts';
import { discoverDocument, discoverText } from './discover-report.ts';
import { Progress } from './doctor-progress.ts';
import type { ExitCodeMeanings } from './exit-code.ts';
import { exitCodes as codes } from './exit-code.ts';
import { print } from './print.ts';
import { oneLine } from './text.ts';
import { stopSignal } from './unattended.ts';

export const exitCodes: ExitCodeMeanings = {
  0: 'the files are written or unchanged; with --dry-run: they can be written',
  1: 'an error; the message says which',
  2: 'wrong usage; no packet was sent',
};

/** `nodecertd discover`: from a token and the hash of a CA key to a bootstrap kubeconfig. */
export function configure(
  command: Command,
  context: CliContext,
  exit: (code: number) => void,
): void {
  addDiscoverOptions(command).action(async (options: DiscoverOptions) => {
    using input = await readDiscoverInput(options, context);
    for (const warning of input.warnings) context.stderr.write(`warning: ${oneLine(warning)}\n`);
    const report = await withRootRemedy(() => discover(input, context));
    const format = input.format === 'text' ? 'table' : input.format;
    const text = await print(format, discoverDocument(report), () => discoverText(report));
    context.stdout.write(text);
    exit(codes.fine);
  });
}

/** Writes nothing unless everything before has succeeded. */
async function discover(input: DiscoverInput, context: CliContext): Promise<DiscoverReport> {
  const { discovery, files, dryRun } = input;
  const { token } = discovery.request;
  await requireReplaceable(files, token && { kind: 'token', token: token.text });
  using stop = stopSignal();
  const { signal } = stop;
  const { clock } = context;
  // For anything that takes more than two seconds.
  using progress = new Progress(context.stderr, clock).show();
  progress.note('the cluster', 'started');
  const say = (line: string): void => progress.say(oneLine(line));
  const discovering = { clock, signal, version, progress: say };
  using found = await orCanceled(signal, () => find(input, discovering));
  const { hostName } = context.environment;
  const node = await orCanceled(signal, () => findNode(input, found, { hostName, discovering }));
  refuseReadyNode(node, input);
  // A signal that arrives later does not interrupt the writing.
  if (signal.aborted) throw canceled();
  const content = contentOf(found);
  const outcomes = dryRun
    ? await planBootstrapFiles(files, content)
    : await writeBootstrapFiles(files, content);
  return { input, found, node, outcomes };
}

async function orCanceled<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw signal.aborted ? canceled() : error;
  }
}

function canceled(): AgentError {
  return new AgentError('ABORTED', 'the discovery was canceled, and no file was written', {
    remedy: 'Run the command again',
  });
}

async function find(
  { discovery }: DiscoverInput,
  context: DiscoveryContext,
): Promise<DiscoveredBootstrap> {
  if (discovery.kind === 'file') {
    return discoverFromFile(discovery.request, context);
  }
  const { token, proxyUrl } = discovery.request;
  return {
    cluster: await discoverCluster(discovery.request, context),
    credential: { kind: 'token', token: token.text },
    ...(proxyUrl !== undefined && { proxyUrl }),
    [Symbol.dispose]: () => undefined, // The input owns the token.
  };
}

function contentOf({
  cluster,
  credential,
  tlsServerName,
  proxyUrl,
}: DiscoveredBootstrap): BootstrapContent {
  return {
    cluster: {
      server: cluster.server,
      ...(tlsServerName !== undefined && { tlsServerName }),
      ...(proxyUrl !== undefined && { proxyUrl }),
    },
    authorities: encodeCertificates(cluster.authorities),
    credential,
  };
}

/**
 * Reads the Node of this machine's name, as kubeadm does before it starts the kubelet. Repeats the
 * request like those of the discovery.
 */
async function findNode(
  { nodeName, discovery }: DiscoverInput,
  found: DiscoveredBootstrap,
  { hostName, discovering }: { readonly hostName: string; readonly discovering: DiscoveryContext },
): Promise<FoundNode> {
  if (nodeName === undefined) {
    return { state: 'unknown', reason: `the host name is "${hostName}", so pass --node-name` };
  }
  const { clock, signal } = discovering;
  const { timeoutMs } = discovery.request;
  const access = accessOf(found);
  await using client = await KubeClient.open({ access, version, clock, limits: clientLimits });
  using deadline = new Deadline({ clock, ms: timeoutMs, signal, what: 'reading the Node' });
  const readiness = await repeatUntil(
    () => readNodeReadiness(client, nodeName, deadline.signal),
    { ...discovering, signal: deadline.signal },
    timeoutMs,
  );
  return readiness === 'forbidden'
    ? { name: nodeName, state: 'unknown', reason: 'this credential may not read Nodes' }
    : { name: nodeName, state: readiness };
}

function accessOf(found: DiscoveredBootstrap): ClusterAccess {
  const { cluster, authorities } = contentOf(found);
  return {
    path: 'the bootstrap kubeconfig',
    cluster: {
      ...cluster,
      ignoresProxyVariables: true,
      insecureSkipTlsVerify: false,
      certificateAuthority: { pem: Uint8Array.from(authorities) },
    },
    credential: credentialOf(found.credential),
    [Symbol.dispose]: () => undefined, // The discovery owns the credential.
  };
}

function refuseReadyNode({ name, state }: FoundNode, { files }: DiscoverInput): void {
  if (state !== 'ready' || files.force) return;
  throw new AgentError('NODE_EXISTS', `the cluster has a Node ${name ?? ''} that is Ready`, {
    remedy:
      'If another machine has this name, rename this one: hostnamectl set-hostname NAME; if this machine has joined already, do nothing, or ignore the Node with --force',
  });
}
