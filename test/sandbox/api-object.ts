/**
 * The objects of the API, with the fields that the sandbox keeps. Objects are replaced,
 * never changed.
 */
export interface ObjectMeta {
  readonly name: string;
  readonly generateName?: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly creationTimestamp: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface ApiObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
}

export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
  readonly lastUpdateTime?: string;
  readonly lastTransitionTime?: string;
}

export interface CsrSpec {
  /** PEM in base64. */
  readonly request: string;
  readonly signerName: string;
  readonly expirationSeconds?: number;
  readonly usages: readonly string[];
  readonly username: string;
  readonly groups: readonly string[];
}

export interface CsrStatus {
  readonly conditions?: readonly Condition[];
  /** PEM in base64. */
  readonly certificate?: string;
}

export interface CsrObject extends ApiObject {
  readonly apiVersion: 'certificates.k8s.io/v1';
  readonly kind: 'CertificateSigningRequest';
  readonly spec: CsrSpec;
  readonly status: CsrStatus;
}

export interface NodeObject extends ApiObject {
  readonly apiVersion: 'v1';
  readonly kind: 'Node';
  readonly spec: Readonly<Record<string, unknown>>;
  readonly status: Readonly<Record<string, unknown>>;
}

/** A kind of object, as URLs and authorization name it. */
export interface Resource {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly subresources: readonly string[];
}

export const csrResource: Resource = {
  group: 'certificates.k8s.io',
  version: 'v1',
  plural: 'certificatesigningrequests',
  kind: 'CertificateSigningRequest',
  subresources: ['approval', 'status'],
};

export const nodeResource: Resource = {
  group: '',
  version: 'v1',
  plural: 'nodes',
  kind: 'Node',
  subresources: ['status'],
};

export const resources: readonly Resource[] = [csrResource, nodeResource];

/** `nodes`, or `certificatesigningrequests.certificates.k8s.io`: how messages name a resource. */
export function qualifiedName(resource: Resource): string {
  return resource.group === '' ? resource.plural : `${resource.plural}.${resource.group}`;
}

export function groupVersion(resource: Resource): string {
  return resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;
}

export function hasCondition(csr: CsrObject, type: string): boolean {
  return csr.status.conditions?.some((condition) => condition.type === type) ?? false;
}

/** Approved and not denied: the condition for a signer. */
export function isApproved(csr: CsrObject): boolean {
  return hasCondition(csr, 'Approved') && !hasCondition(csr, 'Denied');
}
