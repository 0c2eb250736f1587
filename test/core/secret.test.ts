import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { format, inspect } from 'node:util';
import { serialize } from 'node:v8';
import { Secret } from '../../src/core/secret.ts';

const token = 'abcdef.0123456789abcdef';
const bytesOf = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(Buffer.from(text));
const secret = new Secret(bytesOf(token));
const deep = { a: { b: { c: { d: [secret] } } }, map: new Map([['token', secret]]) };

describe('Secret', () => {
  const ways: readonly (readonly [string, () => string])[] = [
    ['String()', () => String(secret)],
    // The test checks what an implicit conversion reveals.
    // oxlint-disable-next-line typescript/restrict-template-expressions, typescript/no-base-to-string
    ['a template string', () => `token: ${secret}`],
    ['JSON', () => JSON.stringify(secret)],
    ['JSON, deep inside', () => JSON.stringify(deep.a)],
    ['util.inspect', () => inspect(secret)],
    ['util.inspect at any depth', () => inspect(deep, { depth: Infinity, showHidden: true })],
    ['util.inspect cut at its depth', () => inspect(deep, { depth: 0 })],
    ['util.inspect with colors', () => inspect(deep, { colors: true, depth: 9 })],
    ['util.format', () => format('%s %o %O %j %d', secret, secret, secret, secret, secret)],
    ['an error message', () => new Error('bad token', { cause: secret }).message],
    [
      'an inspected error with the secret as its cause',
      () => inspect(new Error('bad', { cause: secret })),
    ],
  ];
  for (const [name, print] of ways) {
    it(`is redacted in ${name}`, () => {
      const text = print();
      assert.equal(text.includes(token.slice(0, 6)), false, text);
      assert.equal(text.includes('97, 98, 99'), false, text);
      assert.equal(text.includes('61 62 63'), false, text);
    });
  }

  it('shows [redacted]', () => {
    assert.equal(JSON.stringify({ secret }), '{"secret":"[redacted]"}');
    assert.equal(inspect({ secret }), '{ secret: [redacted] }');
  });

  it('is redacted even if inspect ignores custom functions', () => {
    const text = inspect(secret, { customInspect: false, showHidden: true, depth: Infinity });
    assert.equal(text.includes('97'), false, text);
  });

  it('cannot be cloned or sent by IPC', () => {
    assert.deepEqual(Object.keys(structuredClone({ secret }).secret), []);
    assert.equal(serialize({ secret }).includes(token), false);
  });

  it('expose() returns the bytes themselves, so that wipe() clears them', () => {
    const bytes = bytesOf(token);
    const key = new Secret(bytes);
    assert.equal(key.expose(), bytes);
    key.wipe();
    assert.deepEqual(bytes, new Uint8Array(token.length));
  });

  it('is wiped at the end of its scope, also after a throw', () => {
    const bytes = bytesOf(token);
    assert.throws(() => {
      using key = new Secret(bytes);
      assert.equal(key.expose(), bytes);
      throw new Error('half-way');
    }, /half-way/);
    assert.deepEqual(bytes, new Uint8Array(token.length));
  });
});
