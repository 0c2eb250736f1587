import { stripVTControlCharacters } from 'node:util';
import { formatDuration, second } from '../core/instant.ts';
import type { Instant } from '../core/instant.ts';

/**
 * Text from elsewhere (a server's message, a file name) as one harmless line: no
 * escape sequences that would move the cursor, no line breaks that would tear a table.
 */
export function oneLine(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  return stripVTControlCharacters(text).replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ');
}

/** Cut to the width with `…` as the last character, or filled up with spaces. */
export function fit(text: string, width: number): string {
  const characters = Array.from(text);
  if (characters.length <= width) return text + ' '.repeat(width - characters.length);
  return width <= 1 ? '…'.slice(0, width) : `${characters.slice(0, width - 1).join('')}…`;
}

/** Serial numbers have up to 40 digits; the ends tell two apart. */
export function shortSerial(serial: string): string {
  return serial.length <= 10 ? serial : `${serial.slice(0, 4)}…${serial.slice(-4)}`;
}

/**
 * `next try in 41s`, or undefined once that moment has come: the try is then under
 * way or about to be, and "in -18s" would look like one that was missed.
 */
export function nextTry(at: Instant | undefined, now: Instant): string | undefined {
  if (at === undefined || at <= now) return undefined;
  return `next try in ${formatDuration(Math.max(at - now, second))}`;
}

/** Columns as wide as their widest cell, two spaces apart, nothing behind the last. */
export function alignColumns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => Array.from(row[column] ?? '').length)),
  );
  return rows.map((row) =>
    row
      .map((cell, column) => fit(cell, widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
