import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { execStartCommands, quotedWord } from '../../src/sys/exec-start.ts';

describe('execStartCommands()', () => {
  const unit = '[Unit]\nExecStart=/no\n[Service]\n ExecStart = -/bin/a "b c" $D %n \n';
  const rows: readonly (readonly [string, readonly string[], readonly string[]])[] = [
    ['the command as written', [unit], ['-/bin/a "b c" $D %n']],
    ['no command of another section', ['[Install]\nExecStart=/no\n'], []],
    [
      'a continued line without its comments',
      ['[Service]\nExecStart=/bin/a \\\n  # mine \\\n; too\n  --b \\\n  --c\nExecStop=/no\n'],
      ['/bin/a    --b    --c'],
    ],
    ['the command of the last file', [unit, '[Service]\nExecStart=\nExecStart=/b\n'], ['/b']],
    [
      'both commands without a reset',
      [unit, '[Service]\r\nExecStart=/b\r\n'],
      ['-/bin/a "b c" $D %n', '/b'],
    ],
    ['nothing after a reset', [unit, '[Service]\nExecStart=\n'], []],
  ];
  for (const [what, texts, expected] of rows) {
    it(`has ${what}`, () => assert.deepEqual(execStartCommands(texts), expected));
  }
});

describe('quotedWord()', () => {
  it('escapes quotes, specifiers and variables', () => {
    assert.equal(quotedWord('--a=/x y/%n/$B"\\'), '"--a=/x y/%%n/$$B\\"\\\\"');
  });
});
