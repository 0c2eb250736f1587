import {
  isShortFingerprint,
  parseRecord,
  recordOf,
  selected,
  shortFingerprintsIn,
  timeIn,
} from './annotation-json.ts';
import type { Instant } from './instant.ts';
import { formatInstant } from './instant.ts';
import { longestTrustAnnotation } from './trust-annotation.ts';

/** The annotation by which a control-plane node reports its files on its own Node object. */
export const controlPlaneAnnotationKey = 'nodecertd.io/control-plane-trust';

/** What the files of a control-plane node say about a CA rollover. CAs are short fingerprints. */
export interface ControlPlaneTrust {
  /** The CAs of ca.crt, in the order of the file. */
  readonly authorities: readonly string[];
  /** The CA of ca-next.crt. */
  readonly next?: string;
  /**
   * The CA that kube-controller-manager signs with; empty if its file is not one certificate. Absent
   * on a node without kube-controller-manager.
   */
  readonly signer?: string;
  /** By the name of the certificate in kubeadm. */
  readonly leaves: Readonly<Record<string, IssuedLeaf>>;
  /** When the certificate of kube-apiserver --kubelet-client-certificate changed. */
  readonly kubeletClientChangedAt?: Instant;
  /** Absent without kube-apiserver --kubelet-certificate-authority. */
  readonly kubeletAuthority?: {
    readonly authorities: readonly string[];
    /** Absent if the file cannot be read. */
    readonly changedAt?: Instant;
  };
  /** The number of CAs in etcd/ca.crt and in front-proxy-ca.crt. */
  readonly etcdAuthorities?: number;
  readonly frontProxyAuthorities?: number;
  /** The CAs of etcd/ca-next.crt and of front-proxy-ca-next.crt. */
  readonly etcdNext?: string;
  readonly frontProxyNext?: string;
  /** The CA that issued front-proxy-client. Absent if it is unknown. */
  readonly frontProxyClient?: string;
}

/** A certificate of a component or an administrator. */
export interface IssuedLeaf {
  /** Empty for an unknown CA. */
  readonly issuer: string;
  /** The first digits of the SHA-256 hash of the certificate; empty if it is unreadable. */
  readonly fingerprint: string;
}

export interface ControlPlaneAnnotation extends ControlPlaneTrust {
  /** When the components started, by their names. */
  readonly startedAt: Readonly<Partial<Record<StartedComponent, Instant>>>;
  readonly reportedAt: Instant;
}

export const startedComponents = ['kube-apiserver', 'kube-controller-manager'] as const;
export type StartedComponent = (typeof startedComponents)[number];

/** Other parts name the CAs by their index in `cas`, because most CAs are in several parts. */
export function formatControlPlaneAnnotation(report: ControlPlaneAnnotation): string {
  const { authorities, next, signer, leaves, kubeletAuthority, startedAt } = report;
  const issuers = Object.values(leaves).map(({ issuer }) => issuer);
  const named = [next ?? '', signer ?? '', ...issuers].filter(Boolean);
  const cas = [...new Set([...authorities, ...(kubeletAuthority?.authorities ?? []), ...named])];
  // -1 for an unknown CA.
  const indexOf = (ca: string): number => cas.indexOf(ca);
  return JSON.stringify({
    v: 1,
    cas,
    ca: authorities.map(indexOf),
    next: next === undefined ? undefined : indexOf(next),
    signer: signer === undefined ? undefined : indexOf(signer),
    leaf: mapValues(leaves, ({ issuer, fingerprint }) => [indexOf(issuer), fingerprint]),
    kubeletClient: textOf(report.kubeletClientChangedAt),
    kubeletCA: kubeletAuthority && {
      ca: kubeletAuthority.authorities.map(indexOf),
      t: textOf(kubeletAuthority.changedAt),
    },
    etcd: report.etcdAuthorities,
    frontProxy: report.frontProxyAuthorities,
    etcdNext: report.etcdNext,
    frontProxyNext: report.frontProxyNext,
    frontProxyClient: report.frontProxyClient,
    started: mapValues(startedAt, formatInstant),
    t: formatInstant(report.reportedAt),
  });
}

function textOf(time: Instant | undefined): string | undefined {
  return time === undefined ? undefined : formatInstant(time);
}

function mapValues<T>(record: Readonly<Record<string, T>>, map: (value: T) => unknown): object {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value)]));
}

/** Undefined for any other text: every program with the rights of the node can write the annotation. */
export function parseControlPlaneAnnotation(text: string): ControlPlaneAnnotation | undefined {
  if (text.length > longestTrustAnnotation) return undefined;
  try {
    return reportIn(parseRecord(text));
  } catch (error) {
    if (error === malformed) return undefined;
    throw error;
  }
}

const malformed = new Error('the annotation is malformed');

/** @throws malformed */
function reportIn(fields: Readonly<Record<string, unknown>>): ControlPlaneAnnotation {
  const { v, next, signer, kubeletClient, kubeletCA, etcd, frontProxy } = fields;
  const { etcdNext, frontProxyNext, frontProxyClient } = fields;
  if (v !== 1) throw malformed;
  const cas = present(shortFingerprintsIn(fields['cas']));
  const ca = (index: unknown): string => authorityAt(index, cas);
  return {
    authorities: present(selected(cas, fields['ca'])),
    ...(next !== undefined && { next: present(ca(next) || undefined) }),
    ...(signer !== undefined && { signer: ca(signer) }),
    leaves: mapRecord(fields['leaf'], isCertificateName, (leaf) => leafIn(leaf, cas)),
    ...(kubeletClient !== undefined && { kubeletClientChangedAt: present(timeIn(kubeletClient)) }),
    ...(kubeletCA !== undefined && { kubeletAuthority: kubeletAuthorityIn(kubeletCA, cas) }),
    ...(etcd !== undefined && { etcdAuthorities: countIn(etcd) }),
    ...(frontProxy !== undefined && { frontProxyAuthorities: countIn(frontProxy) }),
    ...(etcdNext !== undefined && { etcdNext: fingerprintIn(etcdNext) }),
    ...(frontProxyNext !== undefined && { frontProxyNext: fingerprintIn(frontProxyNext) }),
    ...(frontProxyClient !== undefined && { frontProxyClient: fingerprintIn(frontProxyClient) }),
    startedAt: mapRecord(fields['started'], isStartedComponent, (time) => present(timeIn(time))),
    reportedAt: present(timeIn(fields['t'])),
  };
}

/** @throws malformed */
function present<T>(value: T | undefined): T {
  if (value === undefined) throw malformed;
  return value;
}

/** @throws malformed */
function authorityAt(index: unknown, cas: readonly string[]): string {
  return index === -1 ? '' : present(typeof index === 'number' ? cas[index] : undefined);
}

/** @throws malformed */
function leafIn(value: unknown, cas: readonly string[]): IssuedLeaf {
  if (!Array.isArray(value) || value.length !== 2) throw malformed;
  const [index, fingerprint]: readonly unknown[] = value;
  const issuer = authorityAt(index, cas);
  if (fingerprint === '') return { issuer, fingerprint };
  if (!isShortFingerprint(fingerprint)) throw malformed;
  return { issuer, fingerprint };
}

/** @throws malformed */
function kubeletAuthorityIn(
  value: unknown,
  cas: readonly string[],
): ControlPlaneTrust['kubeletAuthority'] & object {
  const { ca, t } = recordOf(value);
  const authorities = present(selected(cas, ca));
  return { authorities, ...(t !== undefined && { changedAt: present(timeIn(t)) }) };
}

/** @throws malformed */
function fingerprintIn(value: unknown): string {
  return present(isShortFingerprint(value) ? value : undefined);
}

/** @throws malformed */
function countIn(value: unknown): number {
  if (typeof value !== 'number' || !Number.isInteger(value)) throw malformed;
  if (value < 0 || value > mostCounted) throw malformed;
  return value;
}

const mostCounted = 999;

/** @throws malformed */
function mapRecord<T>(
  value: unknown,
  isKey: (name: string) => boolean,
  map: (value: unknown) => T,
): Record<string, T> {
  if (typeof value !== 'object' || value === null) throw malformed;
  const entries = Object.entries(recordOf(value)).map(([name, one]): [string, T] => {
    if (!isKey(name)) throw malformed;
    return [name, map(one)];
  });
  return Object.fromEntries(entries);
}

/** As in `apiserver` and `admin.conf`; messages contain it. */
function isCertificateName(name: string): boolean {
  return /^[a-z][a-z-]{0,40}(?:\.conf)?$/.test(name);
}

function isStartedComponent(name: string): boolean {
  return startedComponents.some((one) => one === name);
}
