import { formatInstant } from '../../core/instant.ts';
import type { UnattendedCertificate } from '../../core/unattended-renewal.ts';
import type { RenewalItem } from '../renewal/renewal-item.ts';
import type { Memory } from './memory.ts';
import type { UnattendedPlan } from './unattended-plan.ts';

/**
 * Remembers the current serial numbers. If this call is killed, the next one compares them with the
 * files to learn what was renewed.
 */
export function withBegun(memory: Memory, items: readonly RenewalItem[]): Memory {
  const serials = items.map(({ entry, leaf }) => [entry.name, leaf.facts.serial] as const);
  // A renewal whose end is still unknown began with an older serial number.
  return { ...memory, begun: { ...Object.fromEntries(serials), ...memory.begun } };
}

/** Remembers these certificates as renewed. */
export function withRenewals(memory: Memory, renewed: readonly UnattendedCertificate[]): Memory {
  const names = new Set(renewed.map(({ name }) => name));
  const begun = Object.entries(memory.begun).filter(([name]) => !names.has(name));
  const others = memory.renewals.filter(({ name }) => !names.has(name));
  return { ...memory, begun: Object.fromEntries(begun), renewals: [...others, ...renewed] };
}

/**
 * Remembers as renewed each certificate whose serial number has changed. While a renewal is
 * interrupted, its changes may still be undone. A certificate that cannot be read stays unknown.
 */
export function withEnd(
  memory: Memory,
  { found, interrupted }: Pick<UnattendedPlan, 'found' | 'interrupted'>,
): Memory {
  if (interrupted !== undefined) return memory;
  const known = Object.entries(memory.begun).flatMap(([name, serial]) => {
    const facts = found.get(name)?.leaf.facts;
    return facts === undefined ? [] : [{ name, facts, isRenewed: facts.serial !== serial }];
  });
  const renewed = known.filter(({ isRenewed }) => isRenewed);
  const names = new Set(known.map(({ name }) => name));
  const begun = Object.entries(memory.begun).filter(([name]) => !names.has(name));
  const ended = { ...memory, begun: Object.fromEntries(begun) };
  return withRenewals(
    ended,
    renewed.map(({ name, facts }) => certificateOf(name, facts)),
  );
}

export function certificateOf(
  name: string,
  { serial, notAfter }: RenewalItem['leaf']['facts'],
): UnattendedCertificate {
  return { name, serial, notAfter: formatInstant(notAfter) };
}

/** What was renewed after the earlier memory, in order. */
export function renewedSince(earlier: Memory, { renewals }: Memory): UnattendedCertificate[] {
  const known = new Set(earlier.renewals.map(({ serial }) => serial));
  return renewals.filter(({ serial }) => !known.has(serial));
}
