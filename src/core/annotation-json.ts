import type { Instant } from './instant.ts';

/** Parts of the annotations that nodes write about their CAs. */

/** Empty for a value that is not an object. */
export function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

/** Empty for another text than a JSON object. */
export function parseRecord(text: string): Readonly<Record<string, unknown>> {
  try {
    return recordOf(JSON.parse(text));
  } catch {
    return {};
  }
}

export function isShortFingerprint(value: unknown): value is string {
  return typeof value === 'string' && /^[\da-f]{16}$/.test(value);
}

/** Undefined for a value that is not a list of short fingerprints. */
export function shortFingerprintsIn(value: unknown): readonly string[] | undefined {
  return Array.isArray(value) && value.every((one) => isShortFingerprint(one)) ? value : undefined;
}

/** The CAs at these indexes. Undefined if one is no index of a CA. */
export function selected(cas: readonly string[], indexes: unknown): string[] | undefined {
  if (!Array.isArray(indexes)) return undefined;
  const chosen = indexes.map((index: unknown) =>
    typeof index === 'number' ? cas[index] : undefined,
  );
  return chosen.every((ca) => ca !== undefined) ? chosen : undefined;
}

/** Undefined for another value than a time in UTC, as in `2026-11-29T15:00:00Z`. */
export function timeIn(value: unknown): Instant | undefined {
  if (typeof value !== 'string' || !timePattern.test(value)) return undefined;
  const time = Date.parse(value);
  return Number.isNaN(time) ? undefined : time;
}

const timePattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;
