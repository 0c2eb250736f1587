import type { Instant } from '../../core/instant.ts';
import { day, formatDuration } from '../../core/instant.ts';
import type { InventoryCertificate } from './certificate.ts';
import type { KeyState } from './key-check.ts';

/**
 * The states of a certificate, with the exit code of each: 3 needs attention soon, 4 needs
 * attention now.
 */
export const inventoryStates = {
  ok: 0,
  expiring: 3,
  overdue: 3,
  'stale-copy': 3,
  'ca-ends-first': 3,
  mode: 3,
  expired: 4,
  'not-yet-valid': 4,
  missing: 4,
  unreadable: 4,
  'key-mismatch': 4,
  'wrong-ca': 4,
  'stale-served': 4,
} as const;

export type InventoryState = keyof typeof inventoryStates;

/** A remaining time below which a certificate counts as expiring. */
export type Threshold =
  | { readonly kind: 'fraction'; readonly fraction: number }
  | { readonly kind: 'duration'; readonly ms: number };

/** 10% of the lifetime of each certificate: 36 days of a year, 2.4 hours of a day. */
export const defaultThreshold: Threshold = { kind: 'fraction', fraction: 0.1 };

export interface Judgment {
  readonly state: InventoryState;
  readonly reason?: string;
  readonly remedy?: string;
}

/** Everything that the state of a certificate depends on. */
export interface JudgedCertificate {
  readonly name: string;
  readonly certificate: Pick<
    InventoryCertificate,
    'notBefore' | 'notAfter' | 'isAuthority' | 'issuer'
  >;
  readonly managedBy?: 'kubeadm' | 'kubelet' | 'nodecertd';
  readonly key?: KeyState;
  /** The CA that signed it; 'wrong' if the scan found only other CAs with its name. */
  readonly issuer?: Pick<InventoryCertificate, 'notBefore' | 'notAfter'> | 'wrong';
  /** The newer certificate of which this one is an old copy. */
  readonly newer?: { readonly name: string; readonly notAfter: Instant };
  /** The CA of kubeadm that has to have signed it. */
  readonly expectedCa?: string;
  /** The command that renews it. */
  readonly renewal: string;
  /** Its file, unless it is embedded in a kubeconfig. */
  readonly path?: string;
}

export interface JudgeOptions {
  readonly now: Instant;
  readonly threshold: Threshold;
}

/** The worst state of a certificate, with the reason and the remedy. */
export function judge(item: JudgedCertificate, options: JudgeOptions): Judgment {
  return (
    judgeValidity(item, options) ??
    judgeKey(item) ??
    judgeIssuer(item) ??
    judgeCopy(item) ??
    judgeRemaining(item, options) ??
    judgeAuthorityEnd(item, options) ??
    judgeMode(item) ?? { state: 'ok' }
  );
}

function judgeValidity(item: JudgedCertificate, { now }: JudgeOptions): Judgment | undefined {
  const { certificate, newer } = item;
  if (now >= certificate.notAfter) {
    const ago = formatDuration(now - certificate.notAfter);
    const copy = newer === undefined ? '' : `; it is an old copy of ${newer.name}`;
    return { state: 'expired', reason: `expired ${ago} ago${copy}`, remedy: remedyOf(item) };
  }
  if (now < certificate.notBefore) {
    return {
      state: 'not-yet-valid',
      reason: `becomes valid in ${formatDuration(certificate.notBefore - now)}`,
      remedy:
        'Compare the clocks of this node and of the machine that issued the certificate: timedatectl',
    };
  }
  return undefined;
}

function judgeKey(item: JudgedCertificate): Judgment | undefined {
  const { key } = item;
  if (key === undefined) return undefined;
  const file = key.path === undefined ? 'its key' : key.path;
  if (!key.present && item.managedBy !== undefined) {
    return { state: 'key-mismatch', reason: `${file} does not exist`, remedy: keyRemedy(item) };
  }
  if (key.matches === false) {
    return {
      state: 'key-mismatch',
      reason: `${file} belongs to another certificate`,
      remedy: keyRemedy(item),
    };
  }
  return undefined;
}

function keyRemedy({ managedBy, renewal }: JudgedCertificate): string {
  return managedBy === 'kubeadm'
    ? `${renewal}, or restore the certificate and its key from a backup`
    : renewal;
}

function judgeIssuer(item: JudgedCertificate): Judgment | undefined {
  const { certificate, issuer, expectedCa } = item;
  if (issuer !== 'wrong') return undefined;
  const verdict =
    expectedCa === undefined
      ? 'no CA on this node verifies its signature'
      : `the CA ${expectedCa} does not verify its signature`;
  return {
    state: 'wrong-ca',
    reason: `${verdict} (issuer ${certificate.issuer})`,
    remedy: wrongCaRemedy(item),
  };
}

/** kubeadm signs with the CA that is there now; `nodecertd certs renew` refuses another CA. */
function wrongCaRemedy({ name, managedBy, path }: JudgedCertificate): string {
  if (managedBy === 'kubeadm') {
    return `Restore the CA and its key from a backup; if the CA was replaced, issue the certificate again: kubeadm certs renew ${name}`;
  }
  return path === undefined
    ? 'Find out which CA signed it; if the CA was replaced, create the kubeconfig again: kubeadm kubeconfig user --client-name USER'
    : `Find out which CA signed it, and issue it again if that CA was replaced: openssl x509 -noout -issuer -ext authorityKeyIdentifier -in ${path}`;
}

function judgeCopy(item: JudgedCertificate): Judgment | undefined {
  const { newer } = item;
  if (newer === undefined) return undefined;
  return {
    state: 'stale-copy',
    reason: `is an old copy of ${newer.name}, which was renewed`,
    remedy: remedyOf(item),
  };
}

function judgeRemaining(
  item: JudgedCertificate,
  { now, threshold }: JudgeOptions,
): Judgment | undefined {
  const { certificate, managedBy } = item;
  const remaining = certificate.notAfter - now;
  const lifetime = certificate.notAfter - certificate.notBefore;
  const left = `expires in ${formatDuration(remaining)}`;
  // The kubelet rotates at 90% of the lifetime at the latest, and so does nodecertd by default.
  const isRotated = managedBy === 'kubelet' || managedBy === 'nodecertd';
  if (isRotated && remaining < lifetime / 10) {
    return {
      state: 'overdue',
      reason: `${left}, past its rotation window`,
      remedy: 'Find out why it was not rotated: nodecertd doctor',
    };
  }
  if (remaining > thresholdOf(threshold, lifetime)) return undefined;
  return { state: 'expiring', reason: left, remedy: remedyOf(item) };
}

/** The threshold in milliseconds. @param lifetime in milliseconds */
export function thresholdOf(threshold: Threshold, lifetime: number): number {
  return threshold.kind === 'duration' ? threshold.ms : lifetime * threshold.fraction;
}

/**
 * The CA expires before the certificate, or so soon that a renewal could not have the full
 * lifetime. The second only counts in the last fifth of the CA's own lifetime: with certificates
 * that live as long as their CA, the warning would never end.
 */
function judgeAuthorityEnd(
  { certificate, issuer }: JudgedCertificate,
  { now }: JudgeOptions,
): Judgment | undefined {
  if (issuer === undefined || issuer === 'wrong' || certificate.isAuthority) return undefined;
  const lifetime = certificate.notAfter - certificate.notBefore;
  const left = issuer.notAfter - now;
  const soon = Math.min(lifetime, (issuer.notAfter - issuer.notBefore) / 5);
  if (issuer.notAfter >= certificate.notAfter && left >= soon) return undefined;
  const before =
    issuer.notAfter < certificate.notAfter
      ? `${formatDuration(certificate.notAfter - issuer.notAfter)} before the certificate`
      : 'before a renewed certificate would';
  return {
    state: 'ca-ends-first',
    reason: `its CA expires in ${formatDuration(left)}, ${before}`,
    remedy: 'Plan the replacement of the CA: every certificate that it signed expires with it',
  };
}

function judgeMode({ key }: JudgedCertificate): Judgment | undefined {
  if (key?.readableByAll !== true || key.path === undefined) return undefined;
  return {
    state: 'mode',
    reason: `every user can read ${key.path}`,
    remedy: `Run: chmod o= ${key.path}`,
  };
}

function remedyOf({ certificate, renewal }: JudgedCertificate): string {
  return certificate.isAuthority
    ? 'Replace the CA: every certificate that it signed expires with it'
    : renewal;
}

/** `10%`, `30d`, `720h`; undefined for any other text. */
export function parseThreshold(text: string): Threshold | undefined {
  const { number = '', unit = '' } =
    /^(?<number>\d+(?:\.\d+)?)(?<unit>%|d|h|m|s)$/.exec(text)?.groups ?? {};
  const value = Number(number);
  if (number === '') return undefined;
  if (unit === '%') return value <= 100 ? { kind: 'fraction', fraction: value / 100 } : undefined;
  return { kind: 'duration', ms: value * (units[unit] ?? day) };
}

const units: Readonly<Record<string, number>> = {
  d: day,
  h: day / 24,
  m: day / 24 / 60,
  s: day / 24 / 3600,
};
