import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { splitWords } from '../../src/discovery/shell-words.ts';

function words(line: string): string[] {
  using split = splitWords(Buffer.from(line));
  return split.words.map((word) => Buffer.from(word).toString());
}

describe('splitWords()', () => {
  for (const [what, line, expected] of [
    ['blanks of every kind', ' a\tb\n\nc\r\nd ', ['a', 'b', 'c', 'd']],
    ['no-break spaces of a web page', 'a\u00a0b', ['a', 'b']],
    ['backslashes at the end of lines', 'a \\\n\tb \\\r\n c', ['a', 'b', 'c']],
    ['a word that such a backslash continues', 'a\\\nb', ['ab']],
    ['backslashes whose line breaks are lost', 'a \\ b \\\tc \\', ['a', 'b', 'c']],
    ['blanks after such a backslash', 'a \\  \n b', ['a', 'b']],
    ['quotes', `'a b' "c d" e' 'f`, ['a b', 'c d', 'e f']],
    ['an empty word in quotes', `a ''`, ['a', '']],
    ['escapes', `a\\ \\'b "c\\"d\\e" 'f\\g'`, ['a', `'b`, 'c"d\\e', 'f\\g']],
  ] as const) {
    it(`splits at, or keeps, ${what}`, () => {
      assert.deepEqual(words(line), expected);
    });
  }

  it('refuses an open quote', () => {
    assert.throws(() => words(`a 'b`), { code: 'USAGE', message: /quote that is not closed/ });
  });

  it('wipes the words when it is disposed', () => {
    const split = splitWords(Buffer.from('secret word'));
    split[Symbol.dispose]();
    assert.deepEqual(
      split.words.map((word) => word.every((byte) => byte === 0)),
      [true, true],
    );
  });
});
