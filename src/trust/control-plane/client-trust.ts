import { formatHostPort } from '../../core/host-port.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { readAuthority } from '../../kube/authorities.ts';
import { kubeletEndpoint } from '../../pki/components/component-endpoints.ts';
import type { RolloverSide } from '../cluster/gate.ts';
import { sideNames } from '../cluster/gates/verdict.ts';
import type { SigningAuthority } from '../cluster/probe-certificate.ts';
import { mintProbe } from '../cluster/probe-certificate.ts';
import type { ProbeResult } from '../cluster/probes.ts';
import { probeServers } from '../cluster/probes.ts';
import type { DialedServer } from '../cluster/served-leaf.ts';
import { apiServerOf } from './served-chain.ts';
import type { CheckContext } from './check.ts';
import { waitUntilFine } from './check.ts';
import { logOf } from './managed-component.ts';
import type { RolloverNode } from './node-files.ts';
import { caPath } from './node-files.ts';
import { probeByRequest } from './request-probe.ts';

export const bothSides = ['old', 'next'] as const satisfies readonly RolloverSide[];

const code = 'CERT_UNTRUSTED';

/**
 * Waits until kube-apiserver of this node accepts client certificates from exactly these CAs, and the
 * kubelet from at least these. A CA without its key on this node is not probed.
 * @throws AgentError CERT_UNTRUSTED
 */
export async function requireClientTrust(
  context: CheckContext,
  wanted: readonly RolloverSide[],
  signal: AbortSignal,
): Promise<void> {
  await requireServerTrust(context, wanted, signal);
  await requireKubeletTrust(context, wanted, signal);
}

/** The same for kube-apiserver alone. @throws AgentError CERT_UNTRUSTED */
export async function requireServerTrust(
  context: CheckContext,
  wanted: readonly RolloverSide[],
  signal: AbortSignal,
): Promise<void> {
  const log = logOf(context.node.components, 'kube-apiserver');
  const server = apiServerOf(context.node);
  if (server === undefined) return;
  const faultNow = async (): Promise<string | undefined> => {
    const results = await probeApiServer(context, server, signal);
    const place = `kube-apiserver at ${formatHostPort(server)}`;
    return bothSides
      .map((side) => trustFault(place, side, { wanted, ...results[side] }))
      .find(Boolean);
  };
  await waitUntilFine(context, signal, { code, log, faultNow });
}

/** The same for the kubelet alone. @throws AgentError CERT_UNTRUSTED */
export async function requireKubeletTrust(
  context: CheckContext,
  wanted: readonly RolloverSide[],
  signal: AbortSignal,
): Promise<void> {
  const kubelet = await kubeletOf(context.node);
  if (kubelet === undefined) return;
  const place = `the kubelet at ${formatHostPort(kubelet)}`;
  for (const side of wanted) {
    const faultNow = async (): Promise<string | undefined> => {
      const result = await probeKubeletBy(context, { kubelet, side }, signal);
      return trustFault(place, side, { wanted, ...result });
    };
    await waitUntilFine(context, signal, { code, log: 'journalctl --unit kubelet', faultNow });
  }
}

/** Undefined if the kubelet uses another CA file, which the agent keeps. */
async function kubeletOf({
  tree,
  kubelet,
  ...node
}: RolloverNode): Promise<DialedServer | undefined> {
  if (kubelet?.clientCAFile === undefined) return undefined;
  const [used, own] = await Promise.all([
    tree.locate(kubelet.clientCAFile),
    tree.locate(caPath(node, 'trusted')),
  ]);
  return used.path === own.path ? kubeletEndpoint(kubelet) : undefined;
}

const notProbed: ProbeResult = { kind: 'no-key' };

async function probeApiServer(
  { node, clock, version }: CheckContext,
  server: DialedServer,
  signal: AbortSignal,
): Promise<Record<RolloverSide, ProbeResult>> {
  const [old, next] = [signingAuthority(node, 'old'), signingAuthority(node, 'next')];
  const [probe] = await probeServers([{ ...server, name: 'kube-apiserver' }], {
    cluster: { server: '', ignoresProxyVariables: true, insecureSkipTlsVerify: false },
    authorities: { old: authorityOf(node, 'old'), next: authorityOf(node, 'next') },
    keys: { ...(old && { old }), ...(next && { next }) },
    now: clock.now(),
    version,
    clock,
    signal,
  });
  return { old: probe?.byOld ?? notProbed, next: probe?.byNext ?? notProbed };
}

async function probeKubeletBy(
  { node, clock }: CheckContext,
  { kubelet, side }: { readonly kubelet: DialedServer; readonly side: RolloverSide },
  signal: AbortSignal,
): Promise<ProbeResult> {
  const authority = signingAuthority(node, side);
  if (authority === undefined) return notProbed;
  const certificate = await mintProbe(authority, clock.now());
  try {
    return await probeByRequest({ ...kubelet, path: '/pods' }, certificate, signal);
  } finally {
    certificate.key.wipe();
  }
}

/** Undefined if the answer to a probe shows that a server trusts exactly the wanted CAs. */
export function trustFault(
  place: string,
  side: RolloverSide,
  {
    wanted,
    certificate = 'a client certificate',
    ...result
  }: ProbeResult & {
    readonly wanted: readonly RolloverSide[];
    readonly certificate?: string;
  },
): string | undefined {
  const client = `${certificate} from ${sideNames[side]}`;
  const isWanted = wanted.includes(side);
  switch (result.kind) {
    case 'no-key':
      return undefined;
    case 'accepted':
      return isWanted ? undefined : `${place} still accepts ${client}`;
    case 'rejected':
      return isWanted ? `${place} rejects ${client}` : undefined;
    case 'failed':
      return `${place} does not answer a probe: ${result.reason}`;
    default:
      return result satisfies never;
  }
}

function authorityOf(node: RolloverNode, side: RolloverSide): TrustAuthority {
  return readAuthority(node[side].certificate.der);
}

/** Undefined if no file of this node has the key. */
export function signingAuthority(
  node: RolloverNode,
  side: RolloverSide,
): SigningAuthority | undefined {
  const { key } = node[side];
  return key && { authority: authorityOf(node, side), key: key.object };
}
