/** Two texts of one file; absent where there is no file. */
export interface Versions {
  readonly file: string;
  readonly before?: string | undefined;
  readonly after?: string | undefined;
}

type Line = readonly [sign: ' ' | '-' | '+', text: string];

/** Lines around each change. */
const context = 3;

/** The difference as `diff -u` shows it; empty when there is none. */
export function unifiedDiff({ file, before, after }: Versions): string {
  const lines = editScript(linesOf(before), linesOf(after));
  const hunks = hunksOf(lines);
  if (hunks.length === 0) return '';
  const from = before === undefined ? '/dev/null' : file;
  const to = after === undefined ? '/dev/null' : file;
  return [`--- ${from}`, `+++ ${to}`, ...hunks.flatMap((hunk) => hunkText(lines, hunk)), ''].join(
    '\n',
  );
}

/** A last line without a line break is another line than one with it. */
function linesOf(text = ''): string[] {
  const lines = text.split('\n');
  const last = lines.pop() ?? '';
  return last === '' ? lines : [...lines, `${last}\n\\ No newline at end of file`];
}

/** What both have at their beginning and end is set aside first: changes are few. */
function editScript(before: readonly string[], after: readonly string[]): Line[] {
  let head = 0;
  const shorter = Math.min(before.length, after.length);
  while (head < shorter && before[head] === after[head]) head += 1;
  let tail = 0;
  while (tail < shorter - head && before.at(-1 - tail) === after.at(-1 - tail)) tail += 1;
  return [
    ...before.slice(0, head).map(kept),
    ...middle(before.slice(head, before.length - tail), after.slice(head, after.length - tail)),
    ...before.slice(before.length - tail).map(kept),
  ];
}

function kept(text: string): Line {
  return [' ', text];
}

/** Beyond this many pairs of lines nobody reads the difference, and it takes too long to find. */
const mostPairs = 4_000_000;

/** By the longest common subsequence, counted from the end. */
function middle(before: readonly string[], after: readonly string[]): Line[] {
  if (before.length * after.length > mostPairs) return replaced(before, after);
  const common = commonLengths(before, after);
  const at = (i: number, j: number): number => common[i]?.[j] ?? 0;
  const lines: Line[] = [];
  let [i, j] = [0, 0];
  while (i < before.length && j < after.length) {
    const [left = '', right = ''] = [before[i], after[j]];
    if (left === right) {
      lines.push([' ', left]);
      [i, j] = [i + 1, j + 1];
    } else if (at(i + 1, j) >= at(i, j + 1)) {
      lines.push(['-', left]);
      i += 1;
    } else {
      lines.push(['+', right]);
      j += 1;
    }
  }
  return [...lines, ...replaced(before.slice(i), after.slice(j))];
}

function replaced(before: readonly string[], after: readonly string[]): Line[] {
  return [...before.map((text): Line => ['-', text]), ...after.map((text): Line => ['+', text])];
}

function commonLengths(before: readonly string[], after: readonly string[]): Uint32Array[] {
  const rows = Array.from({ length: before.length + 1 }, () => new Uint32Array(after.length + 1));
  for (let i = before.length - 1; i >= 0; i -= 1) {
    const [row, below] = [rows[i], rows[i + 1]];
    if (row === undefined || below === undefined) continue;
    for (let j = after.length - 1; j >= 0; j -= 1) {
      row[j] =
        before[i] === after[j] ? (below[j + 1] ?? 0) + 1 : Math.max(below[j] ?? 0, row[j + 1] ?? 0);
    }
  }
  return rows;
}

interface Hunk {
  readonly start: number;
  readonly end: number;
}

/** Changes with the lines around them, joined where these overlap. */
function hunksOf(lines: readonly Line[]): Hunk[] {
  const hunks: Hunk[] = [];
  for (const [index, [sign]] of lines.entries()) {
    if (sign === ' ') continue;
    const start = Math.max(index - context, 0);
    const end = Math.min(index + context + 1, lines.length);
    const last = hunks.at(-1);
    if (last !== undefined && start <= last.end) hunks.splice(-1, 1, { start: last.start, end });
    else hunks.push({ start, end });
  }
  return hunks;
}

function hunkText(lines: readonly Line[], { start, end }: Hunk): string[] {
  const inside = lines.slice(start, end);
  const before = position(lines.slice(0, start), inside, '-');
  const after = position(lines.slice(0, start), inside, '+');
  return [`@@ -${before} +${after} @@`, ...inside.map(([sign, text]) => `${sign}${text}`)];
}

/** `12,7`: the first line and how many; an empty side counts from the line before it. */
function position(lead: readonly Line[], inside: readonly Line[], sign: '-' | '+'): string {
  const count = (lines: readonly Line[]): number =>
    lines.filter(([found]) => found === ' ' || found === sign).length;
  const length = count(inside);
  const first = count(lead) + (length === 0 ? 0 : 1);
  return length === 1 ? String(first) : `${first},${length}`;
}
