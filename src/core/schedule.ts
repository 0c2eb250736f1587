import type { PairFacts } from './certificate.ts';
import { day, hour, minute, second } from './instant.ts';
import type { Instant } from './instant.ts';

/** The part of the lifetime after which the kubelet rotates lies in this range (client-go certificate_manager.go). */
const earliest = 0.7;
const span = 0.2;

/**
 * When the pair is to be replaced: a point between 70 and 90 % of the time it is
 * really there. Signers backdate notBefore by five minutes, so a certificate that
 * lives shorter than two would be past 70–90 % of `[notBefore, notAfter]` the moment
 * it is issued, and a manager that counts from notBefore asks for a new one every
 * second; hence the moment of issue counts where it is later.
 *
 * @param fraction where in the range, in [0, 1); see `rotationFraction`
 */
export function rotationDeadline(
  pair: Pick<PairFacts, 'notBefore' | 'notAfter' | 'storedAt'>,
  fraction: number,
  { replaced, now }: DeadlineCircumstances = {},
): Instant {
  const start = lifetimeStart(pair, now);
  const lifetime = pair.notAfter - start;
  const wait =
    replaced?.notAfter === pair.notAfter
      ? Math.max(cappedRest, lifetime / 2) * (0.5 + fraction)
      : lifetime * (earliest + span * fraction);
  return Math.round(start + wait);
}

/** What the kubelet rotates is due at the end of its range; where in it, only the kubelet knows. */
export function observedDeadline(pair: PairFacts): Instant {
  return rotationDeadline({ ...pair, storedAt: pair.notBefore }, 1);
}

/** When a pair is due that is found on a disk, for whoever did not see it stored. */
export function foundDeadline(
  pair: PairFacts,
  where: {
    readonly nodeName: string;
    readonly name: string;
    /** The names of those that the kubelet rotates. */
    readonly observed: ReadonlySet<string>;
    readonly now: Instant;
  },
): Instant {
  const { nodeName, name, observed, now } = where;
  if (observed.has(name)) return observedDeadline(pair);
  return rotationDeadline(pair, rotationFraction(nodeName, name, pair.serial), { now });
}

export interface DeadlineCircumstances {
  /** The pair before, when this one was just issued. */
  readonly replaced?: Pick<PairFacts, 'notAfter'> | undefined;
  /** What `lifetimeStart` is to take for the present. */
  readonly now?: Instant;
}

/**
 * How long at least, give or take half, a pair rests that ends when its predecessor
 * did: a CA near its end gives no more, and 70–90 % of what is left, again and again,
 * would have every node of the cluster ask every few seconds in the last minute, and
 * all at once when it is over. Half of what is left, and almost an hour at the end,
 * reaches every node as long as the CA is replaced an hour and a half before its end,
 * with minutes to spare for those that come last.
 */
const cappedRest = 55 * minute;

/**
 * The moment from which the lifetime counts. A file time outside the validity (a
 * copied file, a clock that was wrong) says nothing, and notBefore stands in. So it is
 * with one that is still to come: the clock was ahead when the file was written, and a
 * lifetime counted from there would leave the node less of its end than it needs.
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
 * The moment from which the lifetime of a pair counts that was stored just now: that of
 * its file, which the next start goes by as well, so that the deadline stays where it is.
 * A file system whose clock is another would have the pair past its deadline, and the
 * next one with it.
 */
export function storedMoment(fileTime: Instant, now: Instant): Instant {
  return Math.abs(now - fileTime) <= skewLeeway ? fileTime : now;
}

/** Clocks of node, file system and signer may differ by this much before that matters. */
export const skewLeeway = minute;

/**
 * A number in [0, 1) that is spread evenly over nodes and certificates, yet the
 * same at every start: drawing it anew would move the deadline with each restart.
 */
export function rotationFraction(nodeName: string, name: string, serial: string): number {
  let hash = 0x811c9dc5;
  for (const character of `${nodeName}\n${name}\n${serial}`) {
    hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193);
  }
  // FNV-1a leaves neighbours close together; the finalizer of MurmurHash3 spreads them.
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}

/**
 * How long past its deadline a rotation may be before that is news: a fiftieth of
 * the lifetime, so that even the latest deadline (90 %) leaves most of the rest to act in.
 */
export function overdueGrace(pair: Pick<PairFacts, 'notBefore' | 'notAfter' | 'storedAt'>): number {
  return clamp((pair.notAfter - lifetimeStart(pair)) / 50, second, hour);
}

/**
 * Two rotations of one certificate are at least this far apart while the pair in
 * use is valid, whatever its lifetime or the template says.
 */
export const minimumRotationInterval = 10 * second;

/**
 * What a pair has to have left at least for the agent to go back to it. A pair that is
 * about to end would have to be replaced at once by one that nobody has looked at either.
 */
export const leastRest = 5 * minute;

/**
 * How long the next request waits after the agent has gone back to a pair: the hours of
 * its kind, but not beyond three quarters of what the pair has left. The last of a row
 * of tries is made with a minute and more in hand.
 */
export function restAfterRollBack(delay: number, left: number): number {
  return Math.max(Math.min(delay, Math.round(left * 0.75)), 0);
}

/**
 * How long the first request of a start waits, given how many requests of earlier
 * runs were never decided. One restart costs nothing; an agent that crashes in a
 * loop leaves at most a handful of requests in the first hour and then one an hour.
 */
export function leftBehindDelay(count: number): number {
  const steps = [0, 0, 10 * second, minute, 5 * minute, 15 * minute];
  return steps[count] ?? hour;
}

/** The upstream cleaner deletes pending and approved requests after a day: older ones count no more. */
export const outstandingLimit = day;

export function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}
