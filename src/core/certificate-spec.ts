import type { Subject, SubjectAltNames, Usage } from './certificate.ts';
import type { HookSpec, ServedSpec } from './hooks.ts';
import type { RotationWindow } from './schedule.ts';

export const profiles = ['kubelet-client', 'kubelet-serving', 'custom'] as const;
export type Profile = (typeof profiles)[number];

export const keyAlgorithms = [
  'ecdsa-p256',
  'ecdsa-p384',
  'rsa-2048',
  'rsa-3072',
  'rsa-4096',
  'ed25519',
] as const;
export type KeyAlgorithm = (typeof keyAlgorithms)[number];

/**
 * The source of the SANs: the Node object, the network interfaces of this machine, or only the
 * configuration.
 */
export type AddressSource = 'node' | 'interfaces' | 'static';

/** One certificate to rotate, as configured, with every default filled in. */
export interface CertificateSpec {
  /** Unique in the directory. `kubelet-client` is stored as `kubelet-client-current.pem`. */
  readonly name: string;
  readonly profile: Profile;
  readonly signerName: string;
  readonly subject: Subject;
  readonly usages: readonly Usage[];
  readonly key: KeyAlgorithm;
  /** The requested lifetime; the API server rejects values below 600. */
  readonly expirationSeconds?: number;
  /** Does not apply while the kubelet rotates the certificate. */
  readonly rotationWindow: RotationWindow;
  readonly addresses: AddressSource;
  /** SANs from the configuration; every request contains them. */
  readonly static: SubjectAltNames;
  /** Write a temporary self-signed certificate until the first one is issued, because a server needs one to start. */
  readonly selfSignedUntilIssued: boolean;
  /** Hooks that run in this order after the agent links a new key pair. */
  readonly onRotate?: readonly HookSpec[];
  /** Servers that are checked after the hooks. */
  readonly served?: ServedSpec;
}

/** The required content of the certificate: the spec with the current addresses. */
export interface CertificateTemplate extends SubjectAltNames {
  readonly signerName: string;
  readonly subject: Subject;
  readonly usages: readonly Usage[];
  readonly key: KeyAlgorithm;
  readonly expirationSeconds?: number;
}

export const kubeletClientSigner = 'kubernetes.io/kube-apiserver-client-kubelet';
export const kubeletServingSigner = 'kubernetes.io/kubelet-serving';
/** Its ClusterTrustBundle verifies the API servers: the CAs of kube-controller-manager --root-ca-file. */
export const apiServerServingSigner = 'kubernetes.io/kube-apiserver-serving';

/**
 * `system:node:<name>` in `system:nodes`: the node authorizer recognizes a kubelet by this
 * subject.
 */
export function nodeSubject(nodeName: string): Subject {
  return { commonName: `system:node:${nodeName}`, organizations: ['system:nodes'] };
}

/**
 * The usages that the kubelet requests. Only RSA keys get key encipherment, because other
 * keys cannot encipher (RFC 8813, kubernetes/kubernetes#109077).
 */
export function kubeletUsages(purpose: 'client auth' | 'server auth', key: KeyAlgorithm): Usage[] {
  return key.startsWith('rsa-')
    ? ['digital signature', 'key encipherment', purpose]
    : ['digital signature', purpose];
}

/** True if hooks or a check of the served certificate are configured. */
export function hasPostRotation({ onRotate = [], served }: CertificateSpec): boolean {
  return onRotate.length > 0 || served !== undefined;
}

/** The link that readers open, as the kubelet names it (client-go, certificate_store.go). */
export function currentLink(name: string): string {
  return `${name}-current.pem`;
}
