import type { Subject, SubjectAltNames } from '../../src/core/certificate.ts';
import { kubeletClientSigner, kubeletServingSigner } from '../../src/core/certificate-spec.ts';
import type { Instant } from '../../src/core/instant.ts';
import { formatInstant, hour, minute, second } from '../../src/core/instant.ts';

/**
 * What kube-controller-manager and the API server decide about a CSR, as pure
 * rules. Sources: k8s.io/kubernetes v1.37, pkg/controller/certificates/{approver,
 * signer,authority}, pkg/apis/certificates/helpers.go and the admission plugins
 * NodeRestriction and CertificateSubjectRestriction.
 */
export const apiserverClientSigner = 'kubernetes.io/kube-apiserver-client';

/** What a PKCS #10 request asks for. */
export interface RequestFacts extends SubjectAltNames {
  readonly subject: Subject;
  /** SANs that are neither DNS names nor IP addresses, as `type:value`. */
  readonly otherNames: readonly string[];
}

/** The fields of a CSR that the rules use. The API server has recorded user and groups. */
export interface CsrFacts {
  readonly signerName: string;
  readonly usages: readonly string[];
  readonly username: string;
  readonly groups: readonly string[];
  readonly request: RequestFacts;
}

export type CsrRefusal =
  | 'signer-not-handled'
  | 'organization-not-system-nodes'
  | 'organization-not-allowed'
  | 'common-name-not-system-node'
  | 'common-name-not-own'
  | 'dns-or-ip-san-required'
  | 'dns-san-not-allowed'
  | 'ip-san-not-allowed'
  | 'email-san-not-allowed'
  | 'uri-san-not-allowed'
  | 'usages-mismatch'
  | 'usage-not-allowed'
  | 'client-auth-missing'
  | 'requestor-not-permitted'
  | 'requestor-not-the-node';

export type Refused = {
  readonly ok: false;
  readonly reason: CsrRefusal;
  readonly message: string;
};

export type CsrVerdict = { readonly ok: true } | Refused;

/** The subresource of certificatesigningrequests that the requestor may create. */
export type ApproverVerdict =
  | { readonly ok: true; readonly permission: 'selfnodeclient' | 'nodeclient' }
  | Refused;

/**
 * Whether the built-in approver approves, which it does only for client certificates of
 * kubelets. The access reviews follow the default bindings: system:nodes may renew
 * their own certificates, and system:bootstrappers may request any node's.
 */
export function approverVerdict(csr: CsrFacts): ApproverVerdict {
  if (csr.signerName !== kubeletClientSigner) {
    return refused('signer-not-handled', `signer ${csr.signerName} is not approved automatically`);
  }
  const shape = kubeletClientShape(csr);
  if (!shape.ok) return shape;
  if (csr.username === csr.request.subject.commonName && isOneOf(csr, 'system:nodes')) {
    return { ok: true, permission: 'selfnodeclient' };
  }
  if (isOneOf(csr, 'system:bootstrappers')) return { ok: true, permission: 'nodeclient' };
  return refused(
    'requestor-not-permitted',
    `${csr.username} may not request a client certificate for ${csr.request.subject.commonName}`,
  );
}

/**
 * Whether a built-in signer signs an approved CSR. A rejection becomes the condition
 * Failed, except `signer-not-handled`.
 */
export function signerVerdict(csr: CsrFacts): CsrVerdict {
  switch (csr.signerName) {
    case kubeletClientSigner:
      return kubeletClientShape(csr);
    case kubeletServingSigner:
      return kubeletServingShape(csr);
    case apiserverClientSigner:
      return apiserverClientShape(csr);
    default:
      return refused('signer-not-handled', `signer ${csr.signerName} is not a built-in one`);
  }
}

/**
 * Whether a node requests its own serving certificate. Does not check the SANs, so an
 * approver with only this rule lets a node name any host.
 */
export function ownServingVerdict(csr: CsrFacts): CsrVerdict {
  if (csr.signerName !== kubeletServingSigner) {
    return refused('signer-not-handled', `signer ${csr.signerName} does not serve kubelets`);
  }
  const shape = kubeletServingShape(csr);
  if (!shape.ok) return shape;
  if (csr.username === csr.request.subject.commonName && csr.groups.includes('system:nodes')) {
    return granted;
  }
  return refused(
    'requestor-not-the-node',
    `${csr.username} is not the node ${csr.request.subject.commonName}`,
  );
}

/** NodeRestriction, at creation: with the kubelet's signers a node may name only itself. */
export function nodeRestrictionVerdict(csr: CsrFacts): CsrVerdict {
  const isNode = csr.username.startsWith(nodePrefix) && csr.groups.includes('system:nodes');
  if (!isNode || !kubeletSigners.includes(csr.signerName)) return granted;
  if (csr.username === csr.request.subject.commonName && csr.username !== nodePrefix) {
    return granted;
  }
  return refused(
    'common-name-not-own',
    `${csr.username} can only create a node CSR with CN=${csr.username}, found CN=${csr.request.subject.commonName}`,
  );
}

/** CertificateSubjectRestriction, at creation: no certificate may name system:masters. */
export function subjectRestrictionVerdict(csr: CsrFacts): CsrVerdict {
  if (csr.signerName !== apiserverClientSigner) return granted;
  return csr.request.subject.organizations.includes('system:masters')
    ? refused('organization-not-allowed', 'the organization system:masters is not allowed')
    : granted;
}

export interface ValidityRequest {
  readonly now: Instant;
  /** The controller's --cluster-signing-duration: also the most a request can get. */
  readonly signingSeconds: number;
  /** spec.expirationSeconds, if the CSR has it. */
  readonly expirationSeconds?: number;
  readonly caNotAfter: Instant;
}

export type ValidityVerdict =
  | { readonly ok: true; readonly notBefore: Instant; readonly notAfter: Instant }
  | { readonly ok: false; readonly reason: 'ca-expired'; readonly message: string };

/**
 * The validity of an issued certificate. It is backdated by five minutes for clocks
 * that are behind. Only long lifetimes end five minutes earlier. Times are rounded down
 * to whole seconds, as in X.509.
 */
export function certificateValidity(request: ValidityRequest): ValidityVerdict {
  const { now, caNotAfter } = request;
  if (now >= caNotAfter) {
    const message = `the certificate authority expired at ${formatInstant(caNotAfter)}`;
    return { ok: false, reason: 'ca-expired', message };
  }
  const lifetime = lifetimeSeconds(request) * second;
  const end = now + (lifetime < shortLifetime ? lifetime : lifetime - backdate);
  return {
    ok: true,
    notBefore: wholeSeconds(now - backdate),
    notAfter: wholeSeconds(Math.min(end, caNotAfter)),
  };
}

const backdate = 5 * minute;
const shortLifetime = 8 * hour;
/**
 * The minimum for a requested duration. The controller's own duration may be shorter:
 * 20 s certificates exist.
 */
const leastRequestedSeconds = 600;

function lifetimeSeconds(request: ValidityRequest): number {
  const { expirationSeconds: asked, signingSeconds: most } = request;
  return asked === undefined || asked > most ? most : Math.max(asked, leastRequestedSeconds);
}

function wholeSeconds(instant: Instant): Instant {
  return Math.floor(instant / second) * second;
}

const nodePrefix = 'system:node:';
const kubeletSigners: readonly string[] = [kubeletClientSigner, kubeletServingSigner];
const granted: CsrVerdict = { ok: true };

function kubeletClientShape(csr: CsrFacts): CsrVerdict {
  return firstRefusal(
    systemNodesOnly(csr),
    noAltNames(csr, ['dns', 'email', 'ip', 'uri']),
    nodeCommonName(csr),
    exactUsages(csr, 'client auth'),
  );
}

function kubeletServingShape(csr: CsrFacts): CsrVerdict {
  const { dnsNames, ipAddresses } = csr.request;
  return firstRefusal(
    systemNodesOnly(csr),
    dnsNames.length + ipAddresses.length > 0
      ? granted
      : refused('dns-or-ip-san-required', 'a DNS or IP subjectAltName is required'),
    noAltNames(csr, ['email', 'uri']),
    exactUsages(csr, 'server auth'),
    nodeCommonName(csr),
  );
}

function apiserverClientShape(csr: CsrFacts): CsrVerdict {
  const foreign = csr.usages.find((usage) => !clientUsages.includes(usage));
  if (foreign !== undefined) {
    return refused('usage-not-allowed', `usage ${foreign} is invalid for a client certificate`);
  }
  return csr.usages.includes('client auth')
    ? granted
    : refused('client-auth-missing', 'usage client auth is missing');
}

const clientUsages: readonly string[] = ['digital signature', 'key encipherment', 'client auth'];

function systemNodesOnly(csr: CsrFacts): CsrVerdict {
  const { organizations } = csr.request.subject;
  return organizations.length === 1 && organizations[0] === 'system:nodes'
    ? granted
    : refused(
        'organization-not-system-nodes',
        `the subject organization is [${organizations.join(', ')}], not [system:nodes]`,
      );
}

function nodeCommonName(csr: CsrFacts): CsrVerdict {
  const { commonName } = csr.request.subject;
  return commonName.startsWith(nodePrefix)
    ? granted
    : refused(
        'common-name-not-system-node',
        `the subject common name ${commonName} does not begin with ${nodePrefix}`,
      );
}

/** Exactly the two usages of a kubelet certificate, or those and key encipherment for RSA keys. */
function exactUsages(csr: CsrFacts, purpose: 'client auth' | 'server auth'): CsrVerdict {
  const found = new Set(csr.usages);
  found.delete('key encipherment');
  return found.size === 2 && found.has('digital signature') && found.has(purpose)
    ? granted
    : refused(
        'usages-mismatch',
        `the usages are [${csr.usages.join(', ')}], not [digital signature, ${purpose}] with or without key encipherment`,
      );
}

type AltNameKind = 'dns' | 'email' | 'ip' | 'uri';

/** Other kinds than these four do not cause a rejection. The signers drop them. */
function noAltNames(csr: CsrFacts, kinds: readonly AltNameKind[]): CsrVerdict {
  const { dnsNames, ipAddresses, otherNames } = csr.request;
  const found: Readonly<Record<AltNameKind, readonly string[]>> = {
    dns: dnsNames,
    email: otherNames.filter((name) => name.startsWith('email:')),
    ip: ipAddresses,
    uri: otherNames.filter((name) => name.startsWith('url:')),
  };
  const kind = kinds.find((candidate) => found[candidate].length > 0);
  if (kind === undefined) return granted;
  return refused(
    `${kind}-san-not-allowed`,
    `${kind} subjectAltNames are not allowed, found ${found[kind].join(', ')}`,
  );
}

function isOneOf(csr: CsrFacts, group: string): boolean {
  return csr.groups.includes(group) || csr.groups.includes('system:masters');
}

function firstRefusal(...verdicts: readonly CsrVerdict[]): CsrVerdict {
  return verdicts.find((verdict) => !verdict.ok) ?? granted;
}

function refused(reason: CsrRefusal, message: string): Refused {
  return { ok: false, reason, message };
}
