import type { TrustAnnotation } from '../../src/core/trust-annotation.ts';
import type { TrustAuthority } from '../../src/core/trust.ts';
import type { GateInput, GateReason } from '../../src/trust/cluster/gate.ts';
import type { ClusterNode, ClusterState, PublishedCas } from '../../src/trust/cluster/state.ts';

export const now = Date.parse('2026-11-29T12:00:00Z');

/** The gates compare CAs by fingerprint and key, and parse nothing. */
export function authority(digit: string): TrustAuthority {
  return {
    der: new Uint8Array(),
    fingerprint: digit.repeat(64),
    pin: `sha256:${digit.repeat(64)}`,
    subject: 'CN=kubernetes',
    subjectName: new Uint8Array(),
    notBefore: now,
    notAfter: now,
    isSelfSigned: true,
  };
}

export const old = authority('a');
export const next = authority('b');
export const both: PublishedCas = { authorities: [old, next] };
export const onlyOld: PublishedCas = { authorities: [old] };
export const onlyNext: PublishedCas = { authorities: [next] };

export const forbidden = {
  outcome: 'forbidden',
  failure: { code: 'API_FORBIDDEN', message: 'HTTP status 403', remedy: 'Bind a role' },
} as const;

export function read<T>(value: T): { readonly outcome: 'read'; readonly value: T } {
  return { outcome: 'read', value };
}

/** A cluster in which every gate of the first half is open. */
export function clusterState(changes: Partial<ClusterState> = {}): ClusterState {
  const none = read([]);
  return {
    readAt: now,
    nodes: read([node('node-1')]),
    namespaces: read(['default', 'kube-system']),
    rootCas: read(
      new Map([
        ['default', both],
        ['kube-system', both],
      ]),
    ),
    trustBundles: read(new Map([['kubernetes.io:kube-apiserver-serving:1', both]])),
    clusterInfo: read({ ...both, unsignedTokens: [] }),
    extensionAuthentication: read(both),
    pods: none,
    signers: none,
    holders: {
      ValidatingWebhookConfiguration: none,
      MutatingWebhookConfiguration: none,
      APIService: none,
      CustomResourceDefinition: none,
      Secret: none,
    },
    ...changes,
  };
}

export function gateInput(
  changes: Partial<ClusterState> = {},
  others: Partial<GateInput> = {},
): GateInput {
  return { state: clusterState(changes), authorities: { old, next }, ...others };
}

export function node(name: string, changes: Partial<ClusterNode> = {}): ClusterNode {
  return {
    name,
    addresses: ['10.0.0.1'],
    kubeletPort: 10_250,
    isReady: true,
    isControlPlane: false,
    report: report(),
    ...changes,
  };
}

/** By default of a node that trusts both CAs and has certificates issued by the old one. */
export function report(changes: Partial<TrustAnnotation> = {}): TrustAnnotation {
  return {
    stage: 'union',
    places: { kubeconfig: [oldDigits, nextDigits], clientCa: [oldDigits, nextDigits] },
    leaf: { 'kubelet-client': oldDigits },
    readers: 'ok',
    reportedAt: now,
    ...changes,
  };
}

export const oldDigits = 'a'.repeat(16);
export const nextDigits = 'b'.repeat(16);

/** In one line: `waiting 1 node of 1: … [node-1]`. */
export function lines(reasons: readonly GateReason[]): string[] {
  return reasons.map(
    ({ state, message, objects }) =>
      `${state} ${message}${objects === undefined ? '' : ` [${objects.join(' ')}]`}`,
  );
}
