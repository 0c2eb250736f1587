import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { expandWord, splitLine } from '../../src/adopt/systemd-words.ts';

/** Held against systemd 252 itself, as are those of expandWord(). */
describe('splitLine()', () => {
  const rows: readonly (readonly [string, string, readonly string[]])[] = [
    ['words', '  a  b\tc ', ['a', 'b', 'c']],
    ['nothing', '', []],
    ['double quotes', 'a "b c" d', ['a', 'b c', 'd']],
    ['single quotes', "--x='b c'", ['--x=b c']],
    ['quotes within a word', 'a"b c"d', ['ab cd']],
    ['an empty word', 'a ""', ['a', '']],
    [
      'escapes of C',
      String.raw`"c\"d" 'e\'f' g\th\si \x41\102 \\`,
      ['c"d', "e'f", 'g\th i', 'AB', '\\'],
    ],
  ];
  for (const [name, text, words] of rows) {
    it(`splitLine() takes ${name} as systemd does`, () => {
      for (const setting of ['ExecStart', 'Environment'] as const) {
        assert.deepEqual(splitLine(text, setting), { words, faulty: false });
      }
    });
  }

  it('splitLine() keeps an unknown escape in ExecStart=, and stops at one in Environment=', () => {
    for (const [text, kept] of [
      [String.raw`a b\ c`, String.raw`b\ c`],
      [String.raw`a \q`, String.raw`\q`],
      ['a b\\', 'b\\'],
    ] as const) {
      assert.deepEqual(splitLine(text, 'ExecStart'), { words: ['a', kept], faulty: false });
      assert.deepEqual(splitLine(text, 'Environment'), { words: ['a'], faulty: true });
    }
  });

  it('splitLine() stops at a quote without an end', () => {
    for (const setting of ['ExecStart', 'Environment'] as const) {
      assert.deepEqual(splitLine(`a 'b "c`, setting), { words: ['a'], faulty: true });
    }
  });
});

describe('expandWord()', () => {
  const values: Readonly<Record<string, string>> = {
    ARGS: `--a=1 --b="2 3"`,
    EMPTY: '',
    NAME: 'x y',
    BROKEN: `a "b 'c`,
    ESCAPED: String.raw`a\ b \n c` + '\\',
  };
  const rows: readonly (readonly [string, string, readonly string[]])[] = [
    ['a variable alone', '$ARGS', ['--a=1', '--b=2 3']],
    ['an empty variable', '$EMPTY', []],
    ['an unset variable', '$NONE', []],
    ['a variable in braces, as one word', '${NAME}', ['x y']],
    ['a variable within a word', '--x=${NAME}!', ['--x=x y!']],
    ['an unset one within a word', '--x=${NONE}', ['--x=']],
    ['a bare name within a word, left alone', '--x=$NAME', ['--x=$NAME']],
    ['two dollars', '$$NAME', ['$NAME']],
    ['a value whose quote has no end', '$BROKEN', ['a', "b 'c"]],
    ['a backslash, which protects in a value', '$ESCAPED', ['a b', 'n', 'c']],
    ['a name with more behind it, of which there is none', '$ARGS.x', []],
  ];
  for (const [name, word, expected] of rows) {
    it(`expandWord() puts in ${name}`, () => {
      const words = expandWord(word, (variable) => values[variable]);
      assert.deepEqual(
        words.map(({ text }) => text),
        expected,
      );
    });
  }

  it('expandWord() says which word of which variable each came from', () => {
    assert.deepEqual(
      expandWord('$ARGS', (name) => values[name]).map(({ variable }) => variable),
      [
        { name: 'ARGS', word: 0 },
        { name: 'ARGS', word: 1 },
      ],
    );
  });
});
