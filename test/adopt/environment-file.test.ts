import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseEnvironmentFile, withoutWords } from '../../src/adopt/environment-file.ts';

describe('parseEnvironmentFile()', () => {
  const rows: readonly (readonly [string, string, string, boolean])[] = [
    ['a bare value', 'A=--x=1 --y', '--x=1 --y', true],
    ['double quotes', 'A="--x=1 --y"', '--x=1 --y', true],
    ['single quotes', "A='--x=1 --y'", '--x=1 --y', true],
    ['an empty value', 'A=', '', true],
    ['a hash, which is no comment behind a value', 'A=b # c', 'b # c', true],
    ['a value of a file from elsewhere', 'A="b"\r', 'b', true],
    ['escapes in quotes', String.raw`A="b\"c \d \$x"`, String.raw`b"c \d $x`, false],
    ['escapes without', String.raw`A=b\"c\ \ ` + '  ', 'b"c  ', false],
    ['single quotes, in which nothing is special', String.raw`A='b\nc'`, String.raw`b\nc`, false],
    ['quotes within quotes', `A="--x='1 2'"`, `--x='1 2'`, false],
    ['quotes within a bare value, which are characters like any', `A=b"c d"e`, 'b"c d"e', false],
    ['quoted parts one behind the other', `A="b" 'c' d e`, 'bcd e', false],
    ['a quoted value over two lines', 'A="b\nc"', 'b\nc', false],
    ['a joined line', 'A=b \\\n c', 'b  c', false],
    ['blanks around the name and the value', ' A = b ', 'b', true],
    ['a quote without an end', 'A="b', 'b\nB=2\n', false],
  ];
  for (const [name, text, value, plain] of rows) {
    it(`parseEnvironmentFile() reads ${name}`, () => {
      assert.deepEqual(parseEnvironmentFile(`# first\n${text}\nB=2\n`).slice(0, 1), [
        { name: 'A', value, line: 2, plain },
      ]);
    });
  }

  it('parseEnvironmentFile() passes over comments and what is no assignment, and counts lines', () => {
    const text = '\n#A=1\n;A=2\nexport A=3\nno assignment\n=x\nA.b=5\n  A=4\nB=5\\\n6\nC=7\n';
    assert.deepEqual(
      parseEnvironmentFile(text).map(({ name, value, line }) => [name, value, line]),
      [
        ['A', '4', 8],
        ['B', '56', 9],
        ['C', '7', 11],
      ],
    );
  });
});

describe('withoutWords()', () => {
  const rows: readonly (readonly [string, string, readonly number[], string | undefined])[] = [
    ['the first word', 'A="--x --y  --z"', [0], 'A="--y  --z"'],
    ['one in the middle', "A='--x --y  --z'", [1], "A='--x  --z'"],
    ['the last one', 'A=--x --y', [1], 'A=--x'],
    ['all of them', 'A="--x --y"', [0, 1], 'A=""'],
    ['a line from elsewhere', 'A="--x --y"\r', [1], 'A="--x"\r'],
    ['what has escapes', String.raw`A="--x \"y\""`, [0], undefined],
    ['no assignment', '# A=--x', [0], undefined],
  ];
  for (const [name, line, words, expected] of rows) {
    it(`withoutWords() ${expected === undefined ? 'leaves alone' : 'takes out of the line'} ${name}`, () => {
      const [head, tail] = ['# kept\n', '\nB=2'];
      const edited = withoutWords(`${head}${line}${tail}`, { line: 2, words: new Set(words) });
      assert.equal(edited, expected === undefined ? undefined : `${head}${expected}${tail}`);
    });
  }

  it('withoutWords() leaves every other word and line as it is, whatever they are', () => {
    const word = fc.stringMatching(/^--[a-z]{1,8}(=[a-z0-9/:.]{0,8})?$/);
    const quote = fc.constantFrom('"', "'", '');
    const values = fc.array(word, { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(values, quote, fc.nat({ max: 5 }), (value, mark, at) => {
        const index = at % value.length;
        const text = `# before\nA=${mark}${value.join(' ')}${mark}\nB="2"\n`;
        const edited = withoutWords(text, { line: 2, words: new Set([index]) }) ?? '';
        const [a, b] = parseEnvironmentFile(edited);
        assert.deepEqual(
          a?.value.split(/\s+/).filter(Boolean),
          value.filter((_, position) => position !== index),
        );
        assert.deepEqual([b?.name, b?.value], ['B', '2']);
        assert.equal(edited.split('\n').length, text.split('\n').length);
      }),
    );
  });
});
