import { second } from '../../core/instant.ts';
import { servedCertificate } from '../../sys/served-certificate.ts';
import type { ProbedIssuer, RolloverAuthorities } from './gate.ts';
import { issuerOf } from './issued-by.ts';
import type { ClusterNode } from './state.ts';

/** A cluster may have thousands of Nodes, and many of them may be off. */
const mostAtOnce = 100;

const handshakeMs = 5 * second;

export interface PortDials {
  readonly nodes: readonly ClusterNode[];
  readonly authorities: RolloverAuthorities;
  readonly signal: AbortSignal;
}

/**
 * The served certificates of kubelets. A kubelet without serverTLSBootstrap serves a certificate from
 * a CA of its own, which no rollover changes, so the result does not contain it.
 */
export async function dialKubelets({
  nodes,
  authorities,
  signal,
}: PortDials): Promise<ProbedIssuer[]> {
  const waiting = [...nodes];
  const found: ProbedIssuer[] = [];
  const work = async (): Promise<void> => {
    for (let node = waiting.shift(); node !== undefined; node = waiting.shift()) {
      const issuer = await issuerAt(node, authorities, signal);
      if (issuer !== undefined)
        found.push({ place: `port ${node.kubeletPort} of ${node.name}`, issuer });
    }
  };
  await Promise.all(Array.from({ length: mostAtOnce }, work));
  return found;
}

/** Undefined if the kubelet's own CA issued the certificate. */
async function issuerAt(
  { addresses: [host], kubeletPort: port }: ClusterNode,
  authorities: RolloverAuthorities,
  signal: AbortSignal,
): Promise<ProbedIssuer['issuer'] | undefined> {
  if (host === undefined) return 'unreadable';
  try {
    const leaf = await servedCertificate({ host, port, signal, handshakeMs });
    const issuer = issuerOf(leaf, authorities);
    return issuer === 'other' ? undefined : issuer;
  } catch {
    signal.throwIfAborted();
    return 'unreadable';
  }
}
