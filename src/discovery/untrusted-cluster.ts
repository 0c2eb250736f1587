import type { X509Certificate } from 'node:crypto';
import { caPinCommand } from '../core/ca-pin.ts';
import { AgentError } from '../core/errors.ts';
import { nameOf } from '../kube/server-certificate.ts';
import { describeAuthorities } from './authority.ts';
import type { DiscoveredAuthority, DiscoveryRequest } from './discovery.ts';

/** The names in the certificate of a server, for the end of a clause; empty without a certificate. */
export function namesOf(leaf: X509Certificate | undefined): string {
  return leaf === undefined
    ? ''
    : ` (subject ${nameOf(leaf.subject)}, issuer ${nameOf(leaf.issuer)})`;
}

/** @param leaf the certificate of the server */
export function wrongSignature(id: string, leaf: X509Certificate | undefined): AgentError {
  return new AgentError(
    'CLUSTER_UNTRUSTED',
    `the signature of cluster-info does not match token ${id}: the secret of the token is wrong, or the server does not belong to the cluster${namesOf(leaf)}`,
    {
      remedy:
        'Copy the whole token again, or create a token on a control-plane node: kubeadm token create --print-join-command',
    },
  );
}

export function pinMismatch(
  pins: DiscoveryRequest['pins'],
  bundle: readonly DiscoveredAuthority[],
): AgentError {
  return new AgentError(
    'CLUSTER_UNTRUSTED',
    `no CA of the cluster is pinned; pinned: ${pins.join(', ')}; the cluster has ${describeAuthorities(bundle)}`,
    {
      remedy: `If the CA changed recently, get the digits of the new hash on a control-plane node: ${caPinCommand}`,
    },
  );
}

/** For a second response that differs from the first. */
export function changedResponse(): AgentError {
  return new AgentError(
    'CLUSTER_UNTRUSTED',
    'the server returned a different cluster-info over the connection that a pinned CA verifies than over the first connection',
    {
      remedy:
        'Run the command again in case cluster-info was just changed; otherwise find the proxy that changes the responses',
    },
  );
}
