import { join } from 'node:path';

/** The CAs of kubeadm, by the names of `kubeadm certs check-expiration`. */
export const authorityNames = ['ca', 'etcd-ca', 'front-proxy-ca'] as const;
export type AuthorityName = (typeof authorityNames)[number];

/** When a program uses a renewed file: by itself, at its next TLS handshake, after a restart, or never. */
export type Reload = 'automatic' | 'handshake' | 'restart' | 'never';

export interface Usage {
  /** `kube-apiserver`, or `kubectl` for the kubeconfig of an administrator. */
  readonly component: string;
  readonly reload: Reload;
}

/** A certificate that kubeadm creates: a certificate file with a key file, or a kubeconfig. */
export interface KubeadmCertificate {
  readonly name: string;
  readonly authority: AuthorityName;
  /** Relative to the certificate directory, or the name of the kubeconfig in /etc/kubernetes. */
  readonly file: string;
  readonly kind: 'pair' | 'kubeconfig';
  readonly usedBy: readonly Usage[];
}

/**
 * The certificates of a control-plane node, in the order of `kubeadm certs check-expiration`
 * (cmd/kubeadm/app/phases/certs/certlist.go, phases/certs/renewal/manager.go). A node that
 * joined has no super-admin.conf.
 */
export const kubeadmCertificates: readonly KubeadmCertificate[] = [
  kubeconfig('admin.conf', { component: 'kubectl', reload: 'automatic' }),
  pair('apiserver', 'ca', { component: 'kube-apiserver', reload: 'automatic' }),
  pair('apiserver-etcd-client', 'etcd-ca', { component: 'kube-apiserver', reload: 'handshake' }),
  pair('apiserver-kubelet-client', 'ca', { component: 'kube-apiserver', reload: 'automatic' }),
  kubeconfig('controller-manager.conf', {
    component: 'kube-controller-manager',
    reload: 'restart',
  }),
  pair('etcd-healthcheck-client', 'etcd-ca'),
  pair('etcd-peer', 'etcd-ca', { component: 'etcd', reload: 'handshake' }),
  pair('etcd-server', 'etcd-ca', { component: 'etcd', reload: 'handshake' }),
  pair('front-proxy-client', 'front-proxy-ca', {
    component: 'kube-apiserver',
    reload: 'automatic',
  }),
  kubeconfig('scheduler.conf', { component: 'kube-scheduler', reload: 'restart' }),
  kubeconfig('super-admin.conf', { component: 'kubectl', reload: 'automatic' }),
];

/** A kubeconfig that embeds its certificate is read when the component starts (client-go, transport/transport.go). */
function kubeconfig(name: string, usage: Usage): KubeadmCertificate {
  return { name, authority: 'ca', file: name, kind: 'kubeconfig', usedBy: [usage] };
}

function pair(name: string, authority: AuthorityName, ...usedBy: Usage[]): KubeadmCertificate {
  const file = `${name.replace(/^etcd-/, 'etcd/')}.crt`;
  return { name, authority, file, kind: 'pair', usedBy };
}

/** The directories of a control-plane node. */
export interface KubernetesDirectories {
  /** `/etc/kubernetes`: kubeconfigs and manifests. */
  readonly kubernetes: string;
  /** `/etc/kubernetes/pki`, or kubeadm's certificatesDir. */
  readonly certificates: string;
}

export const defaultDirectories: KubernetesDirectories = {
  kubernetes: '/etc/kubernetes',
  certificates: '/etc/kubernetes/pki',
};

/** The certificate file of a pair, or the kubeconfig. */
export function fileOf(
  { kind, file }: Pick<KubeadmCertificate, 'kind' | 'file'>,
  directories: KubernetesDirectories,
): string {
  return join(kind === 'pair' ? directories.certificates : directories.kubernetes, file);
}

/** `ca.crt`, `etcd/ca.crt`, `front-proxy-ca.crt`. */
export function authorityFile(name: AuthorityName, directories: KubernetesDirectories): string {
  return join(directories.certificates, `${name.replace(/^etcd-/, 'etcd/')}.crt`);
}

/**
 * The command that creates a missing certificate with its key, or a missing kubeconfig.
 * @param leftKey the key, if it exists: kubeadm then refuses to create the certificate
 */
export function creationCommand(name: string, leftKey?: string): string {
  if (name.endsWith('.conf')) {
    return `kubeadm init phase kubeconfig ${name.replace(/\.conf$/, '')}`;
  }
  const first = leftKey === undefined ? '' : `mv ${leftKey} ${leftKey}.old && `;
  return `${first}kubeadm init phase certs ${name}`;
}

/** The key beside a certificate file, by kubeadm's convention: `ca.crt` has `ca.key`. */
export function keyFileOf(certificateFile: string): string {
  return certificateFile.replace(/\.[^./]*$/, '.key');
}
