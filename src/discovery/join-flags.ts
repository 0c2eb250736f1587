export const skipFlag = 'discovery-token-unsafe-skip-ca-verification';

/** Flags of `kubeadm join` without a value. */
export const booleans: ReadonlySet<string> = new Set([
  skipFlag,
  'dry-run',
  'control-plane',
  'experimental-control-plane',
  'help',
]);

/** Flags for a node with a control plane. */
export const ofControlPlane: ReadonlySet<string> = new Set([
  'control-plane',
  'experimental-control-plane',
  'certificate-key',
  'apiserver-advertise-address',
  'apiserver-bind-port',
]);

/** Flags of kubeadm about its other work, such as the configuration of the kubelet. */
export const ofKubeadm: ReadonlySet<string> = new Set([
  'cri-socket',
  'ignore-preflight-errors',
  'patches',
  'experimental-patches',
  'skip-phases',
  'feature-gates',
  'rootfs',
  'v',
  'vmodule',
]);

/** Says why flags are ignored, without their values: one of them is a key. */
export function notesOn(ignored: readonly string[]): string[] {
  const controlPlane = ignored.filter((name) => ofControlPlane.has(name));
  const kubeadm = ignored.filter((name) => ofKubeadm.has(name));
  const unknown = ignored.filter((name) => !ofControlPlane.has(name) && !ofKubeadm.has(name));
  return [
    ...note(
      controlPlane,
      'this command prepares a node, not a control plane; for a control-plane node, run kubeadm join',
    ),
    ...note(kubeadm, 'this command does not configure the kubelet and has no preflight checks'),
    ...note(unknown, 'unknown to nodecertd'),
  ];
}

function note(names: readonly string[], reason: string): string[] {
  if (names.length === 0) return [];
  const flags = names.map((name) => (name.length === 1 ? `-${name}` : `--${name}`));
  return [`--join: ignored ${flags.join(', ')}: ${reason}`];
}
