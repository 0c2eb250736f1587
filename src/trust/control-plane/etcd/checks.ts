import { AgentError, describeError } from '../../../core/errors.ts';
import { formatHostPort } from '../../../core/host-port.ts';
import { printable } from '../../../core/printable.ts';
import { componentEndpoints } from '../../../pki/components/component-endpoints.ts';
import { keyFileOf } from '../../../pki/layout.ts';
import { checkControlPlane } from '../../../pki/renewal/control-plane-check.ts';
import type { RolloverSide } from '../../cluster/gate.ts';
import { mintProbe } from '../../cluster/probe-certificate.ts';
import type { DialedServer } from '../../cluster/served-leaf.ts';
import { certificatesOf } from '../ca-files.ts';
import type { CheckContext } from '../check.ts';
import { waitUntilFine } from '../check.ts';
import { bothSides, signingAuthority, trustFault } from '../client-trust.ts';
import type { PairName } from '../leaf.ts';
import { logOf } from '../managed-component.ts';
import { pairPath } from '../leaf.ts';
import type { RolloverNode } from '../node-files.ts';
import type { EtcdAccess } from './access.ts';
import { etcdAccess, readClientPair } from './access.ts';
import { readMembers } from './member-api.ts';
import { inspectEtcd } from './member-health.ts';
import { probeMember, serverAt } from './member-probes.ts';
import { externalEtcd } from './support.ts';

/** A member may have a certificate from either CA. */
export function accessOf(node: RolloverNode): EtcdAccess {
  return etcdAccess(node.components, certificatesOf(node, bothSides));
}

/**
 * Waits until the member on this node accepts certificates from exactly these CAs on both ports.
 * @throws AgentError CERT_UNTRUSTED
 */
export async function requireTrust(
  context: CheckContext,
  trusted: readonly RolloverSide[],
  signal: AbortSignal,
): Promise<void> {
  const { local, localPeer } = accessOf(context.node);
  const faultNow = async (): Promise<string | undefined> => {
    for (const server of [local, localPeer]) {
      const fault = await faultOf(context, { server, trusted }, signal);
      if (fault !== undefined) return fault;
    }
    return undefined;
  };
  await waitUntilFine(context, signal, {
    code: 'CERT_UNTRUSTED',
    log: logOf(context.node.components, 'etcd'),
    faultNow,
  });
}

/**
 * Waits until all members are healthy and have caught up.
 * @throws AgentError CERT_UNTRUSTED
 */
export async function requireMembers(context: CheckContext, signal: AbortSignal): Promise<void> {
  const access = accessOf(context.node);
  const faultNow = async (): Promise<string | undefined> =>
    (await inspectEtcd(access, { clock: context.clock, signal })).problems[0]?.message;
  const log = `${logOf(context.node.components, 'etcd')} # on the node of that member`;
  await waitUntilFine(context, signal, { code: 'CERT_UNTRUSTED', log, faultNow });
}

async function faultOf(
  { node, clock }: CheckContext,
  { server, trusted }: { readonly server: DialedServer; readonly trusted: readonly RolloverSide[] },
  signal: AbortSignal,
): Promise<string | undefined> {
  for (const side of bothSides) {
    const authority = signingAuthority(node, side);
    if (authority === undefined) continue;
    const probe = await mintProbe(authority, clock.now());
    using _ = probe.key;
    const result = await probeMember(server, probe, signal);
    const place = `etcd at ${formatHostPort(server)}`;
    const fault = trustFault(place, side, { wanted: trusted, ...result });
    if (fault !== undefined) return fault;
  }
  return undefined;
}

/**
 * Waits until kube-apiserver on this node is ready, which includes its connection to etcd.
 * @throws AgentError COMPONENT_RESTART
 */
export async function requireApiServer(
  { node: { components, directories }, version, clock }: CheckContext,
  signal: AbortSignal,
): Promise<void> {
  const server = components.find(({ name }) => name === 'kube-apiserver');
  const apiServer = server && componentEndpoints(server)[0];
  if (apiServer === undefined) return;
  const restarted = [] as const;
  const [problem] = await checkControlPlane({
    directories,
    apiServer,
    restarted,
    version,
    clock,
    signal,
  });
  if (problem === undefined) return;
  const { what, remedy } = problem;
  throw new AgentError('COMPONENT_RESTART', what, remedy === undefined ? {} : { remedy });
}

/** The servers to which a program connects with a certificate. */
export type Dialed = 'this member' | 'the other members' | 'external etcd';

/**
 * Waits until the servers accept the client certificate in the files of this name.
 * @throws AgentError CERT_UNTRUSTED
 */
export async function requireAccepted(
  context: CheckContext,
  { name, by }: { readonly name: PairName; readonly by: Dialed },
  signal: AbortSignal,
): Promise<void> {
  const { node } = context;
  const path = pairPath(node, name);
  const faultNow = async (): Promise<string | undefined> => {
    try {
      using pair = await readClientPair(
        await physical(node, path),
        await physical(node, keyFileOf(path)),
      );
      for (const server of await serversOf(node, by, signal)) {
        const result = await probeMember(server, pair, signal);
        const place = `etcd at ${formatHostPort(server)}`;
        if (result.kind === 'rejected') return `${place} rejects ${path}`;
        if (result.kind === 'failed') return `${place} does not answer: ${result.reason}`;
      }
      return undefined;
    } catch (error) {
      signal.throwIfAborted();
      return `${path} cannot be tried: ${printable(describeError(error), 200)}`;
    }
  };
  const log = logOf(node.components, 'etcd');
  await waitUntilFine(context, signal, { code: 'CERT_UNTRUSTED', log, faultNow });
}

async function physical({ tree }: RolloverNode, path: string): Promise<string> {
  return (await tree.locate(path)).physical;
}

async function serversOf(
  node: RolloverNode,
  by: Dialed,
  signal: AbortSignal,
): Promise<DialedServer[]> {
  if (by === 'external etcd') return externalEtcd(node.components) ?? [];
  const access = accessOf(node);
  if (by === 'this member') return [access.local];
  const members = await readMembers(access, signal);
  return members.flatMap(({ peerUrls }) => peerUrls.flatMap(serverAt));
}
