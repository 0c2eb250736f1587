/**
 * Milliseconds since the Unix epoch. Unlike a Date, a number is immutable and crosses IPC and
 * JSON unchanged.
 */
export type Instant = number;

export const second = 1_000;
export const minute = 60 * second;
export const hour = 60 * minute;
export const day = 24 * hour;

/** RFC 3339 in UTC with seconds: `2026-11-22T19:05:00Z`. */
export function formatInstant(instant: Instant): string {
  return new Date(instant).toISOString().replace(/\.\d{3}Z$/, 'Z');
}

/** At most two units: `41s`, `12m 30s`, `5h 3m`, `-89d 4h`. */
export function formatDuration(ms: number): string {
  const total = Math.floor(Math.abs(ms) / second);
  const units: readonly (readonly [string, number])[] = [
    ['d', 86_400],
    ['h', 3_600],
    ['m', 60],
    ['s', 1],
  ];
  const first = units.findIndex(([, size]) => total >= size);
  if (first === -1) return '0s';
  const [name, size] = units[first] ?? ['s', 1];
  const [nextName, nextSize] = units[first + 1] ?? ['', 0];
  const rest = nextSize === 0 ? 0 : Math.floor((total % size) / nextSize);
  const text = `${Math.floor(total / size)}${name}` + (rest > 0 ? ` ${rest}${nextName}` : '');
  return ms < 0 ? `-${text}` : text;
}
