import { hostOf } from '../../../core/host-port.ts';
import type { Instant } from '../../../core/instant.ts';
import { printable } from '../../../core/printable.ts';
import type { ClientCertificate } from '../../../kube/cluster-access.ts';
import type { RolloverAuthorities, RolloverSide } from '../../cluster/gate.ts';
import type { ProbeResult } from '../../cluster/probes.ts';
import { mintProbe } from '../../cluster/probe-certificate.ts';
import type { DialedServer, ServedLeaf } from '../../cluster/served-leaf.ts';
import { servedLeaf } from '../../cluster/served-leaf.ts';
import type { SigningKeys } from '../../cluster/signing-authorities.ts';
import { probeByRequest } from '../request-probe.ts';
import type { EtcdMember } from './member-api.ts';

/** What a port of a member serves, and from which CAs it accepts client certificates. */
export interface MemberProbe {
  readonly member: EtcdMember;
  readonly port: 'client' | 'peer';
  readonly server: DialedServer;
  readonly served: ServedLeaf;
  readonly accepts: Readonly<Record<RolloverSide, ProbeResult>>;
}

export interface MemberProbeEnvironment {
  readonly authorities: Required<RolloverAuthorities>;
  readonly keys: SigningKeys;
  readonly now: Instant;
  readonly signal: AbortSignal;
}

/**
 * Dials the ports of each member with a certificate from each CA. etcd reads its CA files only when it
 * starts, and the same files verify its clients and the peers that it dials itself, so the answer shows
 * what the process trusts, and not what is in its files.
 * @throws AgentError KEY_UNSUPPORTED, ABORTED
 */
export async function probeMembers(
  members: readonly EtcdMember[],
  environment: MemberProbeEnvironment,
): Promise<MemberProbe[]> {
  const { keys, now } = environment;
  const certificates = {
    old: keys.old && (await mintProbe(keys.old, now)),
    next: keys.next && (await mintProbe(keys.next, now)),
  };
  using _ = {
    [Symbol.dispose]: () => {
      certificates.old?.key.wipe();
      certificates.next?.key.wipe();
    },
  };
  const found = members.flatMap((member) =>
    portsOf(member).map(async (place): Promise<MemberProbe> => {
      const { server } = place;
      const [served, old, next] = await Promise.all([
        servedLeaf(server, environment.authorities, environment.signal),
        probeMember(server, certificates.old, environment.signal),
        probeMember(server, certificates.next, environment.signal),
      ]);
      return { ...place, member, served, accepts: { old, next } };
    }),
  );
  return await Promise.all(found);
}

function portsOf({ clientUrls, peerUrls }: EtcdMember): Pick<MemberProbe, 'port' | 'server'>[] {
  return [
    ...clientUrls.flatMap((url) =>
      serverAt(url).map((server) => ({ port: 'client', server }) as const),
    ),
    ...peerUrls.flatMap((url) =>
      serverAt(url).map((server) => ({ port: 'peer', server }) as const),
    ),
  ];
}

/** Empty for a URL without TLS, to which no CA matters. */
export function serverAt(url: URL): DialedServer[] {
  return url.protocol === 'https:' ? [{ host: hostOf(url), port: Number(url.port || '443') }] : [];
}

/** Both ports answer /version. Go's TLS server sends one of these alerts for a client of an unknown CA. */
const alert = /alert (?:unknown ca|bad certificate)\b/i;

/** Whether a port of etcd accepts a client certificate. */
export async function probeMember(
  server: DialedServer,
  certificate: ClientCertificate | undefined,
  signal: AbortSignal,
): Promise<ProbeResult> {
  if (certificate === undefined) return { kind: 'no-key' };
  const result = await probeByRequest({ ...server, path: '/version' }, certificate, signal);
  if (result.kind !== 'failed') return result;
  const reason = printable(result.reason, 200);
  return alert.test(result.reason) ? { kind: 'rejected' } : { kind: 'failed', reason };
}
