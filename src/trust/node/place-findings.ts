import { join } from 'node:path';
import type { TrustFinding } from '../../core/trust-report.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { authorityName } from '../../core/trust.ts';
import type { PlacesConfig } from './place-candidates.ts';
import type { InspectedPlace } from './places.ts';
import type { TrustPlace } from './place.ts';

/** What an administrator has to know or do about a place. */
export function placeFindings(
  { place, malformed, notKept }: InspectedPlace,
  config: PlacesConfig,
): TrustFinding[] {
  return [
    ...(place.isKept ? problemFinding(place) : []),
    ...malformed.map((problem) => malformedFinding(place, problem)),
    ...(notKept === undefined ? [] : [notKeptFinding(place, notKept, config)]),
  ];
}

function problemFinding({ path, problem }: TrustPlace): TrustFinding[] {
  if (problem === undefined) return [];
  const { message, remedy } = problem;
  return [
    {
      id: 'place_unusable',
      message: `nodecertd cannot update the CAs in ${path}: ${message}`,
      ...(remedy !== undefined && { remedy }),
    },
  ];
}

function malformedFinding({ path, file = path }: TrustPlace, problem: string): TrustFinding {
  return {
    id: 'place_malformed',
    message: `programs may skip a CA in ${file}: ${problem}`,
    remedy: `Remove the PEM block from ${file}, or replace it with a complete one`,
  };
}

function notKeptFinding(
  place: TrustPlace,
  reason: NonNullable<InspectedPlace['notKept']>,
  config: PlacesConfig,
): TrustFinding {
  const { kind, path, file = path } = place;
  if (reason !== 'control-plane') return otherAuthorities(path, reason.otherAuthority, config);
  if (kind === 'client-ca') return signingFile(path, config);
  return {
    id: 'control_plane_file',
    message:
      path === file
        ? `nodecertd does not change ${path}, because it is a CA file of the control plane`
        : `nodecertd does not update the CAs of ${path}, because it names ${file}, a CA file of the control plane`,
    remedy:
      kind === 'kubelet-kubeconfig'
        ? 'Set trust.externalize: true, so that nodecertd moves the CAs to a file of its own'
        : `Copy ${file} to another directory, and name the copy instead`,
  };
}

function otherAuthorities(
  path: string,
  authority: TrustAuthority,
  { kubeconfig }: PlacesConfig,
): TrustFinding {
  return {
    id: 'client_ca_differs',
    message: `nodecertd does not update the clientCAFile ${path}: it has the CA ${authorityName(authority)}, which ${kubeconfig} lacks`,
    remedy: `If the kubelet has to accept clients with certificates from the CAs of ${kubeconfig}, add ${path} to trust.files`,
  };
}

/** A second certificate in the file that signs would stop all signing in the cluster. */
function signingFile(path: string, { kubelet, certificateDirectory }: PlacesConfig): TrustFinding {
  const copy = join(certificateDirectory, 'client-ca.crt');
  const { configDirectory, configFile } = kubelet;
  const setting = `authentication: {x509: {clientCAFile: ${copy}}}`;
  const dropIn = `apiVersion: kubelet.config.k8s.io/v1beta1\\nkind: KubeletConfiguration\\n${setting}\\n`;
  const change =
    configDirectory === undefined
      ? `set ${setting} in ${configFile}`
      : `run printf '${dropIn}' > ${join(configDirectory, '91-nodecertd-client-ca.conf')}`;
  return {
    id: 'client_ca_is_signing_file',
    message: `nodecertd does not change the clientCAFile ${path}, because it is also a CA file of the control plane`,
    remedy: `To let nodecertd manage it, run install -m 0644 ${path} ${copy}, ${change}, add ${copy} to trust.files, and restart the kubelet`,
  };
}
