import { stripVTControlCharacters } from 'node:util';
import { formatDuration, second } from '../core/instant.ts';
import type { Instant } from '../core/instant.ts';

/**
 * Makes foreign text (a server's message, a file name) one harmless line, without escape
 * sequences that move the cursor and without line breaks that break a table.
 */
export function oneLine(text: string): string {
  // oxlint-disable-next-line no-control-regex -- the expression matches control characters on purpose
  return stripVTControlCharacters(text).replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ');
}

/** Truncates to the width with a final `…`, or pads with spaces. */
export function fit(text: string, width: number): string {
  const characters = Array.from(text);
  if (characters.length <= width) return text + ' '.repeat(width - characters.length);
  return width <= 1 ? '…'.slice(0, width) : `${characters.slice(0, width - 1).join('')}…`;
}

/** Serial numbers have up to 40 digits; the first and last four are enough to tell two apart. */
export function shortSerial(serial: string): string {
  return serial.length <= 10 ? serial : `${serial.slice(0, 4)}…${serial.slice(-4)}`;
}

/**
 * `next attempt in 41s`, or undefined once that time has come: the attempt is then
 * running or about to start, and "in -18s" would look like a missed attempt.
 */
export function nextAttemptIn(at: Instant | undefined, now: Instant): string | undefined {
  if (at === undefined || at <= now) return undefined;
  return `next attempt in ${formatDuration(Math.max(at - now, second))}`;
}

/** Pads each column to its widest cell, with `gap` spaces between columns and no trailing spaces. */
export function alignColumns(rows: readonly (readonly string[])[], gap = 2): string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => Array.from(row[column] ?? '').length)),
  );
  return rows.map((row) =>
    row
      .map((cell, column) => fit(cell, widths[column] ?? 0))
      .join(' '.repeat(gap))
      .trimEnd(),
  );
}
