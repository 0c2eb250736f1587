import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseBootstrapToken, secretOf, withoutTokens } from '../../src/core/bootstrap-token.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (part: Uint8Array | undefined): string => new TextDecoder().decode(part);

describe('parseBootstrapToken()', () => {
  it('separates id and secret, and ignores white space around them', () => {
    using token = parseBootstrapToken(bytes(' \tabcdef.0123456789abcdef\r\n'));
    assert.equal(token?.id, 'abcdef');
    assert.equal(text(token?.text.expose()), 'abcdef.0123456789abcdef');
    assert.equal(token && text(secretOf(token)), '0123456789abcdef');
  });

  it('copies the token, and wipes the copy at disposal', () => {
    const source = bytes('abcdef.0123456789abcdef');
    const token = parseBootstrapToken(source);
    token?.[Symbol.dispose]();
    assert.ok(token?.text.expose().every((byte) => byte === 0));
    assert.equal(text(source), 'abcdef.0123456789abcdef');
  });

  const others = [
    '',
    '  ',
    'abcdef',
    'abcdef.0123456789abcde',
    'abcdef.0123456789abcdef0',
    'Abcdef.0123456789abcdef',
    'abcdef-0123456789abcdef',
    'abcdef.0123456789abcde\u00e4',
    'abcdef.0123456789abcdef abcdef.0123456789abcdef',
  ];
  for (const other of others) {
    it(`refuses ${JSON.stringify(other)}`, () => {
      assert.equal(parseBootstrapToken(bytes(other)), undefined);
    });
  }
});

describe('withoutTokens()', () => {
  const token = 'abcdef.0123456789abcdef';
  const cases: readonly (readonly [string, string])[] = [
    [`--token ${token} x`, '--token … x'],
    [`--token${token}`, '--…'],
    [`${token}verification`, '…'],
    [`${token}.0123456789abcdef`, '…'],
    ['abcde.0123456789abcd', '…'],
    ['api.example.com:6443', 'api.example.com:6443'],
  ];
  for (const [given, expected] of cases) {
    it(`shows ${given} as ${expected}`, () => {
      assert.equal(withoutTokens(given), expected);
    });
  }
});
