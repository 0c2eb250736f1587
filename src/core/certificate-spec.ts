import type { Subject, SubjectAltNames, Usage } from './certificate.ts';
import type { HookSpec, ServedSpec } from './hooks.ts';

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
 * Where the SANs come from: the Node object's addresses, this machine's network
 * interfaces, or nothing but what the configuration lists.
 */
export type AddressSource = 'node' | 'interfaces' | 'static';

/** One certificate to keep, as configured, with every default filled in. */
export interface CertificateSpec {
  /** Unique in the directory: `kubelet-client` names `kubelet-client-current.pem`. */
  readonly name: string;
  readonly profile: Profile;
  readonly signerName: string;
  readonly subject: Subject;
  readonly usages: readonly Usage[];
  readonly key: KeyAlgorithm;
  /** Asked of the signer; the API server refuses less than 600. */
  readonly expirationSeconds?: number;
  readonly addresses: AddressSource;
  /** SANs listed in the configuration, always part of the request. */
  readonly static: SubjectAltNames;
  /** Serve a self-signed pair until the first one is issued, so that a server can start at all. */
  readonly selfSignedUntilIssued: boolean;
  /** What is done, in this order, when the agent has put another pair in place. */
  readonly onRotate?: readonly HookSpec[];
  /** Where it has to be found served after that. */
  readonly served?: ServedSpec;
}

/** What one certificate has to be, now: the spec with its addresses looked up. */
export interface CertificateTemplate extends SubjectAltNames {
  readonly signerName: string;
  readonly subject: Subject;
  readonly usages: readonly Usage[];
  readonly key: KeyAlgorithm;
  readonly expirationSeconds?: number;
}

export const kubeletClientSigner = 'kubernetes.io/kube-apiserver-client-kubelet';
export const kubeletServingSigner = 'kubernetes.io/kubelet-serving';

/** `system:node:<name>` in `system:nodes`: what the node authorizer recognises a kubelet by. */
export function nodeSubject(nodeName: string): Subject {
  return { commonName: `system:node:${nodeName}`, organizations: ['system:nodes'] };
}

/**
 * The usages the kubelet asks for. RSA keys add key encipherment; other keys must
 * not have it, since they cannot encipher (RFC 8813, kubernetes/kubernetes#109077).
 */
export function kubeletUsages(purpose: 'client auth' | 'server auth', key: KeyAlgorithm): Usage[] {
  return key.startsWith('rsa-')
    ? ['digital signature', 'key encipherment', purpose]
    : ['digital signature', purpose];
}

/** Whether there is anything to do after a rotation of this certificate. */
export function isFollowed({ onRotate = [], served }: CertificateSpec): boolean {
  return onRotate.length > 0 || served !== undefined;
}
