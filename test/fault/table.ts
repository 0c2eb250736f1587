import type { FaultRow } from './family.ts';

const headings = ['fault', 'tried', 'pairs lost', 'recovery', 'what the log and the metrics said'];

/** Formats one line for each fault, with counts on the right and words on the left. */
export function formatRows(rows: readonly FaultRow[]): string {
  const lines = rows.map(({ fault, tried, lost, recovery, seen }) => [
    fault,
    String(tried),
    String(lost),
    recovery === undefined ? '-' : `${recovery.toFixed(1)} s`,
    seen.join(', '),
  ]);
  const table = [headings, ...lines];
  const widths = headings.map((_, column) =>
    Math.max(...table.map((cells) => width(cells[column]))),
  );
  return table
    .map((cells) => cells.map((cell, column) => pad(cell, column, widths[column])).join('  '))
    .map((line) => line.trimEnd())
    .join('\n');
}

function pad(cell: string, column: number, size = 0): string {
  return column >= 1 && column <= 3 ? cell.padStart(size) : cell.padEnd(size);
}

function width(cell: string | undefined): number {
  return cell?.length ?? 0;
}
