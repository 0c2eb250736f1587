import type { ObservedCsr } from './control-plane.ts';

interface CsrCondition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
}

/** The used fields of a certificates.k8s.io/v1 CertificateSigningRequest. */
export interface CsrObject {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly creationTimestamp: string;
  };
  readonly spec: {
    readonly request: string;
    readonly signerName: string;
    readonly username: string;
    readonly expirationSeconds?: number;
  };
  readonly status: {
    readonly conditions?: readonly CsrCondition[];
    readonly certificate?: string;
  };
}

export function csrPath(name?: string): string {
  const collection = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
  return name === undefined ? collection : `${collection}/${name}`;
}

export interface NewCsr {
  readonly name: string;
  /** PEM. */
  readonly request: string | Uint8Array;
  /** kubernetes.io/kubelet-serving unless another one is given. */
  readonly signerName?: string;
  readonly usages: readonly string[];
}

/** The object that a requestor sends. */
export function newCsr({
  name,
  request,
  signerName = 'kubernetes.io/kubelet-serving',
  usages,
}: NewCsr): object {
  return {
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata: { name },
    spec: { request: Buffer.from(request).toString('base64'), signerName, usages },
  };
}

export function observe({ metadata, spec, status }: CsrObject): ObservedCsr {
  return {
    name: metadata.name,
    uid: metadata.uid,
    username: spec.username,
    signerName: spec.signerName,
    createdAt: metadata.creationTimestamp,
    conditions: (status.conditions ?? []).map(({ type }) => type),
    issued: status.certificate !== undefined,
    ...(spec.expirationSeconds !== undefined && { expirationSeconds: spec.expirationSeconds }),
    request: Buffer.from(spec.request, 'base64').toString(),
  };
}

export function withCondition(csr: CsrObject, type: string, reason: string): CsrObject {
  const condition = { type, status: 'True', reason, message: `set by the test: ${reason}` };
  return {
    ...csr,
    status: { ...csr.status, conditions: [...(csr.status.conditions ?? []), condition] },
  };
}
