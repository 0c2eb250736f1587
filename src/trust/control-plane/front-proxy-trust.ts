import { formatHostPort } from '../../core/host-port.ts';
import { flagValue } from '../../pki/components/component-flags.ts';
import type { RolloverSide } from '../cluster/gate.ts';
import { mintProbe, probeUser } from '../cluster/probe-certificate.ts';
import type { ProbeResult } from '../cluster/probes.ts';
import type { CheckContext } from './check.ts';
import { waitUntilFine } from './check.ts';
import { bothSides, signingAuthority, trustFault } from './client-trust.ts';
import { logOf } from './managed-component.ts';
import type { RolloverNode } from './node-files.ts';
import type { RequestTarget } from './request-probe.ts';
import { probeByRequest } from './request-probe.ts';
import { apiServerOf } from './served-chain.ts';

/**
 * Whether a server accepts a front proxy with a certificate from one of the CAs. The certificate exists
 * only in memory for a minute, and the user in the header has no permissions. An answer for that user
 * proves more than the names of the CAs in a CertificateRequest of TLS, which are also those of the
 * CAs for other clients.
 */
export async function probeFrontProxy(
  { node, clock }: Pick<CheckContext, 'node' | 'clock'>,
  { side, ...target }: Omit<RequestTarget, 'headers'> & { readonly side: RolloverSide },
  signal: AbortSignal,
): Promise<ProbeResult> {
  const authority = signingAuthority(node, side);
  if (authority === undefined) return { kind: 'no-key' };
  const { commonName, userHeader } = expectedProxy(node);
  const certificate = await mintProbe(authority, clock.now(), commonName);
  try {
    const headers = { [userHeader]: probeUser };
    return await probeByRequest({ ...target, headers }, certificate, signal);
  } finally {
    certificate.key.wipe();
  }
}

/** kube-apiserver publishes its flags for extension API servers. */
function expectedProxy({ components }: Pick<RolloverNode, 'components'>): {
  readonly commonName: string;
  readonly userHeader: string;
} {
  const flags = components.find(({ name }) => name === 'kube-apiserver')?.flags ?? [];
  const first = (flag: string): string | undefined => flagValue(flags, flag)?.split(',')[0]?.trim();
  return {
    commonName: first('requestheader-allowed-names') ?? probeUser,
    userHeader: first('requestheader-username-headers') ?? 'X-Remote-User',
  };
}

/** Every kube-apiserver answers an authenticated user here. */
export const apiServerPath = '/apis';

/** As in `kube-apiserver at 10.0.0.1:6443 rejects a front-proxy certificate from the new CA`. */
export const proxyCertificate = 'a front-proxy certificate';

/**
 * Waits until kube-apiserver of this node accepts front-proxy certificates from exactly these CAs.
 * Other API servers are front proxies for it (feature UnknownVersionInteroperabilityProxy).
 * @throws AgentError CERT_UNTRUSTED
 */
export async function requireFrontProxyTrust(
  context: CheckContext,
  wanted: readonly RolloverSide[],
  signal: AbortSignal,
): Promise<void> {
  const server = apiServerOf(context.node);
  if (server === undefined) return;
  const place = `kube-apiserver at ${formatHostPort(server)}`;
  const faultNow = async (): Promise<string | undefined> => {
    const faults = bothSides.map(async (side) => {
      const target = { ...server, path: apiServerPath, side };
      const result = await probeFrontProxy(context, target, signal);
      return trustFault(place, side, { wanted, certificate: proxyCertificate, ...result });
    });
    return (await Promise.all(faults)).find(Boolean);
  };
  const log = logOf(context.node.components, 'kube-apiserver');
  await waitUntilFine(context, signal, { code: 'CERT_UNTRUSTED', log, faultNow });
}
