import { canonicalAltNames } from './alt-names.ts';
import type { CertificateFacts, SubjectAltNames, Usage } from './certificate.ts';
import type { CertificateSpec, CertificateTemplate } from './certificate-spec.ts';
import { kubeletClientSigner, kubeletServingSigner } from './certificate-spec.ts';
import type { NodeAddress } from './enroller-protocol.ts';
import type { ErrorCode } from './errors.ts';
import { formatInstant } from './instant.ts';
import type { Instant } from './instant.ts';
import { canonicalIp } from './ip-address.ts';
import { skewLeeway } from './schedule.ts';

/**
 * SANs from the addresses of a Node, by the kubelet's rules: a Hostname that is an IP address
 * becomes an IP SAN (pkg/kubelet/certificate/kubelet.go, `addressesToHostnamesAndIPs`).
 */
export function altNamesOfNode(addresses: readonly NodeAddress[]): SubjectAltNames {
  const dnsNames = new Set<string>();
  const ipAddresses = new Set<string>();
  for (const { type, address } of addresses) {
    const ip = ipTypes.has(type) ? canonicalIp(address) : undefined;
    if (ip !== undefined) ipAddresses.add(ip);
    else if (address !== '' && dnsTypes.has(type)) dnsNames.add(address.toLowerCase());
  }
  return { dnsNames: [...dnsNames].sort(), ipAddresses: [...ipAddresses].sort() };
}

const ipTypes = new Set(['Hostname', 'InternalIP', 'ExternalIP']);
const dnsTypes = new Set(['Hostname', 'InternalDNS', 'ExternalDNS']);

/**
 * The template of the next request. Undefined until an IP address is known, because clients that
 * connect to the node by IP would reject a serving certificate without one.
 *
 * @param found SANs from the Node or the interfaces; undefined before the first lookup
 */
export function templateOf(
  spec: CertificateSpec,
  found: SubjectAltNames | undefined,
): CertificateTemplate | undefined {
  const names = spec.addresses === 'static' ? spec.static : merge(spec.static, found);
  const known =
    spec.addresses === 'static' || (found !== undefined && names.ipAddresses.length > 0);
  if (!known) return undefined;
  return {
    signerName: spec.signerName,
    subject: spec.subject,
    usages: spec.usages,
    key: spec.key,
    ...(spec.expirationSeconds !== undefined && { expirationSeconds: spec.expirationSeconds }),
    ...names,
  };
}

function merge(a: SubjectAltNames, b: SubjectAltNames | undefined): SubjectAltNames {
  return canonicalAltNames({
    dnsNames: [...a.dnsNames, ...(b?.dnsNames ?? [])],
    ipAddresses: [...a.ipAddresses, ...(b?.ipAddresses ?? [])],
  });
}

export function sameTemplate(a: CertificateTemplate, b: CertificateTemplate): boolean {
  // Runs at each tick, usually with `a` and `b` as the same object.
  return a === b || JSON.stringify(canonical(a)) === JSON.stringify(canonical(b));
}

function canonical(template: CertificateTemplate): readonly unknown[] {
  const { signerName, subject, usages, key, expirationSeconds, dnsNames, ipAddresses } = template;
  return [
    signerName,
    subject.commonName,
    [...subject.organizations].sort(),
    [...usages].sort(),
    key,
    expirationSeconds ?? null,
    dnsNames,
    ipAddresses,
  ];
}

export type Mismatch =
  | 'common-name-differs'
  | 'organization-missing'
  | 'dns-name-missing'
  | 'ip-address-missing'
  | 'self-signed';

/**
 * The reason that a pair does not match the template; undefined if it matches. Allows extra names
 * like the kubelet: a node that lost an address keeps its certificate.
 */
export function mismatchOf(
  template: CertificateTemplate,
  facts: CertificateFacts,
): Mismatch | undefined {
  if (facts.selfSigned) return 'self-signed';
  if (facts.subject.commonName !== template.subject.commonName) return 'common-name-differs';
  if (!includesAll(facts.subject.organizations, template.subject.organizations)) {
    return 'organization-missing';
  }
  if (!includesAll(facts.dnsNames, template.dnsNames)) return 'dns-name-missing';
  if (!includesAll(facts.ipAddresses, template.ipAddresses)) return 'ip-address-missing';
  return undefined;
}

function includesAll<T>(have: readonly T[], want: readonly T[]): boolean {
  return want.every((value) => have.includes(value));
}

function sameSet<T>(a: readonly T[], b: readonly T[]): boolean {
  return includesAll(a, b) && includesAll(b, a);
}

export type IssuedVerdict =
  | { readonly ok: true }
  | { readonly ok: false; readonly code: ErrorCode; readonly message: string };

/**
 * Checks that an issued certificate matches the request. The signers of Kubernetes copy the
 * request, so this function rejects extra names or usages from these signers. Other signers may
 * add some by policy.
 */
export function issuedVerdict(
  template: CertificateTemplate,
  facts: CertificateFacts,
  now: Instant,
): IssuedVerdict {
  const exact =
    template.signerName === kubeletClientSigner || template.signerName === kubeletServingSigner;
  const matches = exact ? sameSet : includesAll;
  const { subject } = facts;
  if (subject.commonName !== template.subject.commonName) {
    const { commonName } = template.subject;
    return reject('CERT_SUBJECT_MISMATCH', 'CN', { found: subject.commonName, wanted: commonName });
  }
  if (!matches<string>(subject.organizations, template.subject.organizations)) {
    const { organizations } = template.subject;
    const difference = { found: subject.organizations, wanted: organizations };
    return reject('CERT_SUBJECT_MISMATCH', 'O', difference);
  }
  const found = [...facts.dnsNames, ...facts.ipAddresses, ...(exact ? facts.otherNames : [])];
  const wanted = [...template.dnsNames, ...template.ipAddresses];
  if (!matches<string>(found, wanted))
    return reject('CERT_SAN_MISMATCH', 'SANs', { found, wanted });
  if (!matches<Usage>(facts.usages, template.usages)) {
    const difference = { found: facts.usages, wanted: template.usages };
    return reject('CERT_USAGE_MISMATCH', 'usages', difference);
  }
  return validityVerdict(facts, now);
}

function validityVerdict(facts: CertificateFacts, now: Instant): IssuedVerdict {
  if (facts.notAfter <= now) {
    const message = `the issued certificate expired at ${formatInstant(facts.notAfter)}; the clock of this node shows ${formatInstant(now)}`;
    return { ok: false, code: 'CERT_EXPIRED', message };
  }
  if (facts.notBefore > now + skewLeeway) {
    const message = `the issued certificate is valid from ${formatInstant(facts.notBefore)}; the clock of this node shows ${formatInstant(now)}`;
    return { ok: false, code: 'CERT_NOT_YET_VALID', message };
  }
  return { ok: true };
}

function reject(
  code: ErrorCode,
  what: string,
  { found, wanted }: { readonly found: unknown; readonly wanted: unknown },
): IssuedVerdict {
  const message = `the issued certificate has ${what} ${JSON.stringify(found)}, but the request has ${JSON.stringify(wanted)}`;
  return { ok: false, code, message };
}
