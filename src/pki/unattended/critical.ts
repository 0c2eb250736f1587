import type { Instant } from '../../core/instant.ts';
import { criticalTime } from '../../core/renewal-time.ts';
import type { RenewalItem } from '../renewal/renewal-item.ts';

/** So little of the lifetime is left that the expiry is a greater risk than a renewal. */
export function isCritical({ leaf, storedAt }: RenewalItem, now: Instant): boolean {
  return now >= criticalTime({ ...leaf.facts, storedAt });
}

export function criticalOf(items: readonly RenewalItem[], now: Instant): RenewalItem[] {
  return items.filter((item) => isCritical(item, now));
}

/** Milliseconds until the first of these certificates is critical; 0 if one is already. */
export function untilCritical(items: readonly RenewalItem[], now: Instant): number {
  const times = items.map(({ leaf, storedAt }) => criticalTime({ ...leaf.facts, storedAt }));
  return Math.max(Math.min(...times) - now, 0);
}
