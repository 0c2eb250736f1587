/** One measure, with a value for each column. */
export interface Row {
  readonly label: string;
  readonly values: readonly number[];
  readonly digits?: number;
}

/** A table of values, and the ratio of each to the first column. */
export function formatTable(agents: readonly string[], rows: readonly Row[]): string {
  const head = ['', ...agents, ...agents.slice(1).map((name) => `${name} / ${agents[0]}`)];
  const lines = rows.map(({ label, values, digits = 1 }) => [
    label,
    ...values.map((value) => shown(value, digits)),
    ...values.slice(1).map((value) => shown(value / (values[0] ?? Number.NaN), 2)),
  ]);
  const widths = head.map((_, column) =>
    Math.max(...[head, ...lines].map((cells) => cells[column]?.length ?? 0)),
  );
  return [head, ...lines]
    .map((cells) =>
      cells
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
        )
        .join('  '),
    )
    .join('\n');
}

/** A missing value is a dash, never a zero. */
function shown(value: number, digits: number): string {
  return Number.isFinite(value) ? value.toFixed(digits) : '-';
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}
