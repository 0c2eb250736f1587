import type { PairFacts } from './certificate.ts';
import type { Instant } from './instant.ts';
import { minute } from './instant.ts';
import type { MaintenanceWindow, OffsetAt } from './maintenance-window.ts';
import { nextOpening, openUntil } from './maintenance-window.ts';
import type { RotationWindow } from './schedule.ts';
import { lifetimeStart, rotationDeadline } from './schedule.ts';

/** When certificates are renewed without a person. */
export interface RenewalSchedule {
  readonly rotation: RotationWindow;
  /** Takes precedence over `rotation`. */
  readonly window?: MaintenanceWindow;
  readonly offsetAt: OffsetAt;
}

type Pair = Pick<PairFacts, 'notBefore' | 'notAfter' | 'storedAt'>;

/** The part of the lifetime after which a certificate is renewed in the next window. */
const windowStart = 2 / 3;

/** With less than this part of the lifetime left, the expiry is the greater risk. */
const criticalPart = 0.05;
/** Two restarts may take four minutes, and the checks around them another one. */
const shortestCritical = 5 * minute;

/**
 * When a certificate is due: in the rotation window, or when it becomes critical, so that certificates
 * of a few minutes do not expire during the restarts of the controllers. With a maintenance window,
 * the certificate is due when the window is open and less than a third of the lifetime is left. A
 * certificate that would be critical at the next opening does not wait for it: the window has been
 * missed already, is rarer than the certificate allows, or the certificate has expired.
 * @param fraction the position in the rotation window; see `rotationFraction`
 */
export function renewalTime(
  pair: Pair,
  { rotation, window, offsetAt }: RenewalSchedule,
  { fraction, now }: { readonly fraction: number; readonly now: Instant },
): Instant {
  const critical = criticalTime(pair);
  if (window === undefined) {
    return Math.min(rotationDeadline(pair, fraction, { window: rotation, now }), critical);
  }
  const start = lifetimeStart(pair, now);
  const ready = Math.max(Math.round(start + (pair.notAfter - start) * windowStart), now);
  if (openUntil(window, ready, offsetAt) !== undefined) return ready;
  const opening = nextOpening(window, ready, offsetAt);
  return opening < critical ? opening : ready;
}

/** From this time on, less than 5% of the lifetime is left, or less than five minutes. */
export function criticalTime(pair: Pair): Instant {
  const lifetime = pair.notAfter - lifetimeStart(pair);
  return Math.round(pair.notAfter - Math.max(lifetime * criticalPart, shortestCritical));
}
