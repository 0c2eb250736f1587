import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { unifiedDiff } from '../../src/adopt/unified-diff.ts';

const file = '/etc/f';
const lines = (...each: readonly (string | number)[]): string =>
  each.map((line) => `${line}\n`).join('');
const numbers = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);

describe('unifiedDiff()', () => {
  const rows: readonly (readonly [string, string | undefined, string | undefined, string])[] = [
    ['nothing', 'a\n', 'a\n', ''],
    ['a new file', undefined, 'a\nb\n', '--- /dev/null\n+++ /etc/f\n@@ -0,0 +1,2 @@\n+a\n+b\n'],
    ['a file that goes', 'a\n', undefined, '--- /etc/f\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n'],
    [
      'a line in the middle',
      lines(...numbers(1, 9)),
      lines(...numbers(1, 4), 'x', ...numbers(6, 9)),
      '--- /etc/f\n+++ /etc/f\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+x\n 6\n 7\n 8\n',
    ],
    [
      'two places far apart',
      lines(...numbers(1, 20)),
      lines('x', ...numbers(2, 19), 'y'),
      '--- /etc/f\n+++ /etc/f\n@@ -1,4 +1,4 @@\n-1\n+x\n 2\n 3\n 4\n@@ -17,4 +17,4 @@\n 17\n 18\n 19\n-20\n+y\n',
    ],
    [
      'two places near each other, as one',
      lines(...numbers(1, 8)),
      lines('x', ...numbers(2, 7), 'y'),
      '--- /etc/f\n+++ /etc/f\n@@ -1,8 +1,8 @@\n-1\n+x\n 2\n 3\n 4\n 5\n 6\n 7\n-8\n+y\n',
    ],
    [
      'a last line without its end',
      'a\nb',
      'a\nb\n',
      '--- /etc/f\n+++ /etc/f\n@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+b\n',
    ],
  ];
  for (const [name, before, after, expected] of rows) {
    it(`unifiedDiff() shows ${name} as diff -u does`, () => {
      assert.equal(unifiedDiff({ file, before, after }), expected);
    });
  }

  it('unifiedDiff() tells all that is needed to make one of the other', () => {
    const text = fc
      .array(fc.constantFrom('a', 'b', 'c', ''), { maxLength: 12 })
      .map((each) => lines(...each));
    fc.assert(
      fc.property(text, text, (before, after) => {
        assert.equal(patched(before, unifiedDiff({ file, before, after })), after);
      }),
    );
  });

  it('unifiedDiff() does not look for the shortest one where that would take for ever', () => {
    const before = lines(...numbers(1, 5_000).map((number) => `a${number}`));
    const after = lines(...numbers(1, 5_000).map((number) => `b${number}`));
    assert.equal(patched(before, unifiedDiff({ file, before, after })), after);
  });
});

/** What patch(1) does with a difference of whole lines. */
function patched(before: string, diff: string): string {
  const source = before.split('\n').slice(0, -1);
  const result: string[] = [];
  let at = 0;
  for (const line of diff.split('\n').slice(2, -1)) {
    const { start, count } = /^@@ -(?<start>\d+)(?:,(?<count>\d+))? /.exec(line)?.groups ?? {};
    if (start !== undefined) {
      const first = Number(start) - (count === '0' ? 0 : 1);
      result.push(...source.slice(at, first));
      at = first;
      continue;
    }
    if (line.startsWith('+')) result.push(line.slice(1));
    else {
      assert.equal(source[at], line.slice(1));
      if (line.startsWith(' ')) result.push(line.slice(1));
      at += 1;
    }
  }
  return lines(...result, ...source.slice(at));
}
