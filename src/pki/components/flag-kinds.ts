/** The content of a file that a flag names; an authentication configuration embeds CAs. */
export type FileKind = 'certificate' | 'key' | 'authority' | 'kubeconfig' | 'authentication-config';

/**
 * The flags of kube-apiserver, kube-controller-manager, kube-scheduler, kube-proxy,
 * cloud-controller-manager 1.37, etcd 3.7 and konnectivity that name a certificate, a key or a
 * kubeconfig. `undefined` is a flag that only looks like one.
 */
const knownFlags: Readonly<Record<string, FileKind | undefined>> = {
  'tls-cert-file': 'certificate',
  'tls-private-key-file': 'key',
  'client-ca-file': 'authority',
  'requestheader-client-ca-file': 'authority',
  kubeconfig: 'kubeconfig',
  'authentication-kubeconfig': 'kubeconfig',
  'authorization-kubeconfig': 'kubeconfig',
  // kube-apiserver
  'etcd-cafile': 'authority',
  'etcd-certfile': 'certificate',
  'etcd-keyfile': 'key',
  'kubelet-certificate-authority': 'authority',
  'kubelet-client-certificate': 'certificate',
  'kubelet-client-key': 'key',
  'oidc-ca-file': 'authority',
  'peer-ca-file': 'authority',
  'proxy-client-cert-file': 'certificate',
  'proxy-client-key-file': 'key',
  'authentication-config': 'authentication-config',
  'audit-webhook-config-file': 'kubeconfig',
  'authentication-token-webhook-config-file': 'kubeconfig',
  'authorization-webhook-config-file': 'kubeconfig',
  // kube-controller-manager
  'root-ca-file': 'authority',
  // etcd
  'cert-file': 'certificate',
  'key-file': 'key',
  'client-cert-file': 'certificate',
  'client-key-file': 'key',
  'trusted-ca-file': 'authority',
  'peer-cert-file': 'certificate',
  'peer-key-file': 'key',
  'peer-client-cert-file': 'certificate',
  'peer-client-key-file': 'key',
  'peer-trusted-ca-file': 'authority',
  'discovery-cert': 'certificate',
  'discovery-key': 'key',
  'discovery-cacert': 'authority',
  // konnectivity
  'server-cert': 'certificate',
  'server-key': 'key',
  'server-ca-cert': 'authority',
  'cluster-cert': 'certificate',
  'cluster-key': 'key',
  'cluster-ca-cert': 'authority',
  'agent-cert': 'certificate',
  'agent-key': 'key',
  'ca-cert': 'authority',
  // Keys that sign tokens and have no certificate.
  'service-account-key-file': undefined,
  'service-account-signing-key-file': undefined,
  'service-account-private-key-file': undefined,
  // The directory of a certificate; see certificateInDirectory().
  'cert-dir': undefined,
  'tls-sni-cert-key': undefined,
};

const patterns: readonly (readonly [RegExp, FileKind])[] = [
  [/(?:^|-)kubeconfig$/, 'kubeconfig'],
  [/^cluster-signing-.*cert-file$/, 'authority'],
  [/(?:^|-)ca-?(?:file|bundle|cert|certificate)?(?:-file)?$/, 'authority'],
  [/(?:^|-)certificate-authority(?:-file)?$/, 'authority'],
  [/(?:^|-)cert(?:ificate)?-?(?:file)?$/, 'certificate'],
  [/(?:^|-)key-?(?:file)?$/, 'key'],
];

/** The kind of a flag by its name, known or similar to known ones. Undefined for other flags. */
export function fileKindOf({
  name,
  value,
}: {
  readonly name: string;
  readonly value: string;
}): FileKind | undefined {
  if (Object.hasOwn(knownFlags, name)) return knownFlags[name];
  // An unknown flag with such a name may hold a switch, a name or the key itself.
  if (!value.startsWith('/')) return undefined;
  return patterns.find(([pattern]) => pattern.test(name))?.[1];
}
