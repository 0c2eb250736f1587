import { formatInstant } from '../core/instant.ts';
import { defaultBootstrapKubeconfig } from '../core/remedies.ts';
import type { DiscoveredAuthority, DiscoveredBootstrap } from '../discovery/discovery.ts';
import type { NodeReadiness } from '../kube/node-readiness.ts';
import type { FileOutcome } from '../store/bootstrap-kubeconfig.ts';
import type { DiscoverInput } from './discover-input.ts';
import { oneLine } from './text.ts';

/** The Node of this machine's name in the cluster. */
export interface FoundNode {
  /** Absent if no name is known. */
  readonly name?: string;
  readonly state: Exclude<NodeReadiness, 'forbidden'> | 'unknown';
  /** Why the state is unknown. */
  readonly reason?: string;
}

export interface DiscoverReport {
  readonly input: DiscoverInput;
  readonly found: DiscoveredBootstrap;
  readonly node: FoundNode;
  readonly outcomes: readonly FileOutcome[];
}

/** The stable form for `-o json` and `-o yaml`. */
export function discoverDocument(report: DiscoverReport): Record<string, unknown> {
  const { input, found, node, outcomes } = report;
  const { server, verifiedBy, authorities } = found.cluster;
  const token = input.discovery.request.token;
  return {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'Discovery',
    server,
    verifiedBy,
    ...(token !== undefined && { tokenId: token.id }),
    certificateAuthorities: authorities.map((authority) => ({
      subject: authority.subject,
      notAfter: formatInstant(authority.notAfter),
      publicKeyHash: authority.pin,
      sha256Fingerprint: authority.fingerprint,
      pinned: authority.isPinned,
    })),
    node,
    dryRun: input.dryRun,
    files: outcomes.map(({ path, change }) => ({ path, change })),
    warnings: [...input.warnings, ...found.cluster.warnings],
  };
}

/** The report for people. The warnings of the input are on standard error already. */
export function discoverText(report: DiscoverReport): string {
  const { found, node } = report;
  const { server, authorities, warnings } = found.cluster;
  const lines = [
    `Server:      ${server}`,
    `Verified by: ${verification(report)}`,
    ...authorities.flatMap((authority) => authorityLines(authority, report)),
    `Node:        ${nodeLine(node)}`,
    ...warnings.map((warning) => `Warning:     ${warning}`),
    ...report.outcomes.map((outcome) => `File:        ${outcomeLine(outcome, report)}`),
    '',
    ...nextLines(report),
  ];
  return `${lines.map(oneLine).join('\n')}\n`;
}

function verification({ input, found }: DiscoverReport): string {
  switch (found.cluster.verifiedBy) {
    case 'pin':
      return 'the hash of the CA key, and the signature of the token';
    case 'token':
      return 'the signature of the token alone';
    case 'file':
      return `the file ${fileName(input)}`;
    default:
      return found.cluster.verifiedBy satisfies never;
  }
}

function fileName({ discovery }: DiscoverInput): string {
  if (discovery.kind !== 'file') return '';
  const { source } = discovery.request;
  return source.kind === 'file' ? source.path : `${source.url.origin}${source.url.pathname}`;
}

function authorityLines(authority: DiscoveredAuthority, { found }: DiscoverReport): string[] {
  const { subject, notAfter, pin, fingerprint, isPinned } = authority;
  const pinned = isPinned ? ', pinned' : ', not pinned';
  const suffix = found.cluster.verifiedBy === 'pin' ? pinned : '';
  return [
    `CA:          ${subject}, until ${formatInstant(notAfter)}${suffix}`,
    `             key ${pin}`,
    `             SHA-256 fingerprint ${fingerprint}`,
  ];
}

function nodeLine({ name, state, reason }: FoundNode): string {
  switch (state) {
    case 'absent':
      return `${name ?? ''} does not exist yet`;
    case 'not-ready':
      return `${name ?? ''} exists and is not Ready; this machine will use it`;
    case 'ready':
      return `${name ?? ''} exists and is Ready (ignored by --force)`;
    case 'unknown':
      return `unknown whether ${name ?? 'a Node of this name'} exists: ${reason ?? ''}`;
    default:
      return state satisfies never;
  }
}

function outcomeLine({ path, change }: FileOutcome, { input }: DiscoverReport): string {
  if (change === 'unchanged') return `${path} unchanged`;
  if (input.dryRun) return `${path} would be ${change} (dry run)`;
  return `${path} ${change}, mode 0600`;
}

function nextLines({ input }: DiscoverReport): string[] {
  const { kubeconfig } = input.files;
  if (input.dryRun) return ['Next: run the same command without --dry-run'];
  const start = 'systemctl enable --now nodecertd';
  if (kubeconfig === defaultBootstrapKubeconfig) return [`Next: ${start}`];
  return [
    `Next: set bootstrapKubeconfig: ${kubeconfig} in /etc/nodecertd/config.yaml, then ${start}`,
  ];
}
