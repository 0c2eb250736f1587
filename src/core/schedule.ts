import type { PairFacts } from './certificate.ts';
import { clamp } from './clamp.ts';
import { hour, minute, second } from './instant.ts';
import type { Instant } from './instant.ts';

/** The part of the lifetime in which a certificate is rotated, as fractions: 0.7 is 70%. */
export interface RotationWindow {
  readonly from: number;
  readonly to: number;
}

/** The window of the kubelet (client-go certificate_manager.go), and the default of nodecertd. */
export const kubeletWindow: RotationWindow = { from: 0.7, to: 0.9 };

/**
 * The rotation deadline, within the window of the time from issue to expiry. Counts from the time
 * of issue if that is later than notBefore, because signers backdate notBefore by five minutes.
 * Counted from notBefore, a certificate with a lifetime of two minutes would be past its deadline
 * when it is issued, and the agent would request a new one every second.
 *
 * @param fraction the position in the window, in [0, 1); see `rotationFraction`
 */
export function rotationDeadline(
  pair: Pick<PairFacts, 'notBefore' | 'notAfter' | 'storedAt'>,
  fraction: number,
  { window = kubeletWindow, replaced, now }: DeadlineOptions = {},
): Instant {
  const start = lifetimeStart(pair, now);
  const lifetime = pair.notAfter - start;
  const wait =
    replaced?.notAfter === pair.notAfter
      ? Math.max(cappedInterval, lifetime / 2) * (0.5 + fraction)
      : lifetime * (window.from + (window.to - window.from) * fraction);
  return Math.round(start + wait);
}

/**
 * For a certificate that the kubelet rotates: the end of the kubelet's window, because only the
 * kubelet knows the exact deadline. The configured window does not apply.
 */
export function observedDeadline(pair: PairFacts): Instant {
  return rotationDeadline({ ...pair, storedAt: pair.notBefore }, 1);
}

/** The deadline of a pair on disk that this process did not store. */
export function foundDeadline(
  pair: PairFacts,
  where: {
    readonly nodeName: string;
    readonly name: string;
    /** The window of a certificate that the kubelet does not rotate. */
    readonly window: RotationWindow;
    /** Names of the certificates that the kubelet rotates. */
    readonly observed: ReadonlySet<string>;
    readonly now: Instant;
  },
): Instant {
  const { nodeName, name, window, observed, now } = where;
  if (observed.has(name)) return observedDeadline(pair);
  return rotationDeadline(pair, rotationFraction(nodeName, name, pair.serial), { window, now });
}

export interface DeadlineOptions {
  /** Default: the window of the kubelet. */
  readonly window?: RotationWindow;
  /** The previous pair, if this pair was just issued. */
  readonly replaced?: Pick<PairFacts, 'notAfter'> | undefined;
  /** The current time, for `lifetimeStart`. */
  readonly now?: Instant;
}

/**
 * The minimum delay, plus or minus half, before the rotation of a pair that expires at the same
 * time as the previous pair. The window does not apply, because a CA that expires soon cannot
 * issue longer certificates: at a fixed part of the ever shorter lifetime, every node would
 * request a certificate every few seconds in the last minute before the CA expires, and again
 * afterwards. With half of the remaining time, and at least this delay, every node gets a
 * certificate of a new CA in time if an administrator installs it an hour and a half before the
 * old CA expires.
 */
const cappedInterval = 55 * minute;

/**
 * The start of the lifetime: the modification time of the file, which is about the time of issue.
 * If the file time is outside the validity (a copied file, a wrong clock), notBefore counts
 * instead. The same applies to a file time in the future: the clock was ahead, and a lifetime
 * that starts there would leave the node too little time for the rotation.
 */
export function lifetimeStart(
  pair: Pick<PairFacts, 'notBefore' | 'notAfter' | 'storedAt'>,
  now: Instant = Infinity,
): Instant {
  const { notBefore, notAfter, storedAt } = pair;
  const latest = Math.min(notAfter, now + skewLeeway);
  return storedAt > notBefore && storedAt < latest ? storedAt : notBefore;
}

/**
 * The time of issue of a pair that was just stored: the file time, so that the agent computes the
 * same deadline after a restart. If the clock of the file system differs, `now` counts instead.
 * Otherwise every new pair could be past its deadline at once.
 */
export function storedMoment(fileTime: Instant, now: Instant): Instant {
  return Math.abs(now - fileTime) <= skewLeeway ? fileTime : now;
}

/** The clocks of node, file system and signer may differ by this much. */
export const skewLeeway = minute;

/**
 * A number in [0, 1), spread evenly over nodes and certificates, and the same at every start: a
 * random number would move the deadline with each restart.
 */
export function rotationFraction(nodeName: string, name: string, serial: string): number {
  let hash = 0x811c9dc5;
  for (const character of `${nodeName}\n${name}\n${serial}`) {
    hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193);
  }
  // FNV-1a maps similar names to similar numbers; the finalizer of MurmurHash3 spreads them.
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}

/**
 * The grace period after the deadline before a rotation is overdue: a fiftieth of the lifetime,
 * so that more than half of the remaining time is left even after the latest deadline that the
 * configuration allows (95%).
 */
export function overdueGrace(pair: Pick<PairFacts, 'notBefore' | 'notAfter' | 'storedAt'>): number {
  return clamp((pair.notAfter - lifetimeStart(pair)) / 50, second, hour);
}
