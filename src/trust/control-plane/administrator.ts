import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { encodePem, parsePem } from '../../core/pem.ts';
import { isSameAuthority } from '../../core/trust-bundle.ts';
import { readAuthorities } from '../../kube/authorities.ts';
import type { ClusterAccess } from '../../kube/cluster-access.ts';
import type { KubernetesDirectories } from '../../pki/layout.ts';
import type { GateReason, RolloverAuthorities } from '../cluster/gate.ts';
import { issuerOf } from '../cluster/issued-by.ts';

/**
 * Why the kubeconfig of the administrator would stop working in the middle of `finish`, after which this
 * node neither accepts clients of the old CA nor sends the bridge.
 */
export function administratorObstacles(
  access: ClusterAccess,
  authorities: Required<RolloverAuthorities>,
  directories: KubernetesDirectories,
): GateReason[] {
  const { path } = access;
  const own = join(directories.kubernetes, 'admin.conf');
  const remedy =
    path === own
      ? 'Renew it with the new CA: kubeadm certs renew admin.conf'
      : `Use ${own}, which the step switch has renewed: omit --kubeconfig`;
  const messages = [
    ...(isByOld(access, authorities)
      ? [`${path} has a client certificate from the old CA, which API servers reject in this step`]
      : []),
    ...(trustsOldAlone(access, authorities)
      ? [`${path} does not trust the new CA, so it cannot verify API servers after this step`]
      : []),
  ];
  return messages.map((message) => ({ state: 'waiting', message, remedy }));
}

function isByOld(
  { credential: { clientCertificate } }: ClusterAccess,
  authorities: RolloverAuthorities,
): boolean {
  const [leaf] = clientCertificate === undefined ? [] : parsePem(clientCertificate.pem);
  if (leaf === undefined) return false;
  return issuerOf(new X509Certificate(encodePem(leaf.label, leaf.der)), authorities) === 'old';
}

function trustsOldAlone(
  { cluster: { certificateAuthority, insecureSkipTlsVerify } }: ClusterAccess,
  { old, next }: Required<RolloverAuthorities>,
): boolean {
  if (certificateAuthority === undefined || insecureSkipTlsVerify) return false;
  const { authorities } = readAuthorities(certificateAuthority.pem);
  const trusts = (ca: typeof old): boolean => authorities.some((one) => isSameAuthority(one, ca));
  return trusts(old) && !trusts(next);
}
