import type { PairFacts } from './certificate.ts';
import { clamp } from './clamp.ts';
import { hour, minute, second } from './instant.ts';
import type { Instant } from './instant.ts';

/** Rotation is due at 70 % to 90 % of the lifetime, as the kubelet's is (client-go certificate_manager.go). */
const earliest = 0.7;
const span = 0.2;

/**
 * When a pair is due for rotation: at 70 % to 90 % of the time from issue to expiry. The
 * moment of issue counts where it is later than notBefore, because signers backdate
 * notBefore by five minutes: a certificate that lives two minutes would be past its deadline
 * when it is issued, and a manager that counts from notBefore requests one every second.
 *
 * @param fraction where in the range, in [0, 1); see `rotationFraction`
 */
export function rotationDeadline(
  pair: Pick<PairFacts, 'notBefore' | 'notAfter' | 'storedAt'>,
  fraction: number,
  { replaced, now }: DeadlineOptions = {},
): Instant {
  const start = lifetimeStart(pair, now);
  const lifetime = pair.notAfter - start;
  const wait =
    replaced?.notAfter === pair.notAfter
      ? Math.max(cappedInterval, lifetime / 2) * (0.5 + fraction)
      : lifetime * (earliest + span * fraction);
  return Math.round(start + wait);
}

/** For a certificate that the kubelet rotates: the end of its range, because only the kubelet knows the exact moment. */
export function observedDeadline(pair: PairFacts): Instant {
  return rotationDeadline({ ...pair, storedAt: pair.notBefore }, 1);
}

/** The deadline of a pair that is found on disk, for a process that did not store it. */
export function foundDeadline(
  pair: PairFacts,
  where: {
    readonly nodeName: string;
    readonly name: string;
    /** Names of the certificates that the kubelet rotates. */
    readonly observed: ReadonlySet<string>;
    readonly now: Instant;
  },
): Instant {
  const { nodeName, name, observed, now } = where;
  if (observed.has(name)) return observedDeadline(pair);
  return rotationDeadline(pair, rotationFraction(nodeName, name, pair.serial), { now });
}

export interface DeadlineOptions {
  /** The previous pair, when this one was just issued. */
  readonly replaced?: Pick<PairFacts, 'notAfter'> | undefined;
  /** The present, for `lifetimeStart`. */
  readonly now?: Instant;
}

/**
 * The minimum time, give or take half, before a pair is rotated that ends when its
 * predecessor did. A CA near its own end cannot issue anything longer, and 70 % to 90 % of
 * ever less would make every node of the cluster request a certificate every few seconds in
 * the last minute, and all of them when the CA has expired. With half of the remaining time,
 * and almost an hour at the end, every node gets a certificate of a new CA if that is
 * installed an hour and a half before the old one ends.
 */
const cappedInterval = 55 * minute;

/**
 * The moment of issue, from which the lifetime counts. A file time outside the validity (a
 * copied file, a wrong clock) is ignored, and notBefore counts. A time in the future is
 * ignored too: the clock was ahead when the file was written, and a lifetime that counts
 * from there would leave the node too little time.
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
 * The moment of issue of a pair that was just stored: its file time, so that the next start
 * of the agent computes the same deadline. On a file system with another clock the pair
 * would be past its deadline at once, and so would each one after it; then `now` counts.
 */
export function storedMoment(fileTime: Instant, now: Instant): Instant {
  return Math.abs(now - fileTime) <= skewLeeway ? fileTime : now;
}

/** The clocks of node, file system and signer may differ by this much. */
export const skewLeeway = minute;

/**
 * A number in [0, 1), spread evenly over nodes and certificates, and the same at every
 * start: a random one would move the deadline with each restart.
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
 * The grace period after the deadline before a rotation is overdue: a fiftieth of the
 * lifetime, so that even after the latest deadline (90 %) most of the remaining time is left.
 */
export function overdueGrace(pair: Pick<PairFacts, 'notBefore' | 'notAfter' | 'storedAt'>): number {
  return clamp((pair.notAfter - lifetimeStart(pair)) / 50, second, hour);
}
