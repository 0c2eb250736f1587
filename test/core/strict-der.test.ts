import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { writeDer } from '../../src/core/der.ts';
import {
  DerError,
  bitStringBytes,
  integerContent,
  oidText,
  onlyValue,
  readStrictDer,
  setElements,
} from '../../src/core/strict-der.ts';

const bytes = (hex: string): Uint8Array => Buffer.from(hex.replaceAll(' ', ''), 'hex');

function rejects(
  symbol: string,
  read: (bytes: Uint8Array) => unknown,
  encodings: readonly (readonly [string, string])[],
): void {
  describe(symbol, () => {
    for (const [name, hex] of encodings) {
      it(`rejects ${name}`, () => assert.throws(() => read(bytes(hex)), DerError));
    }
  });
}

rejects('readStrictDer()', readStrictDer, [
  ['a tag without a length', '30'],
  ['a value that is cut off', '0402aa'],
  ['a length that is cut off', '0482ff'],
  ['the indefinite form of BER', '3080 0500 0000'],
  ['a long form for a short length', '048101aa'],
  ['a long form with a leading zero', `04820081${'aa'.repeat(0x81)}`],
  ['a length of five bytes', '04850000000001aa'],
  ['a tag of two bytes', '1f8101 00'],
]);

rejects('onlyValue()', onlyValue, [
  ['no value', ''],
  ['two values', '0500 0500'],
]);

rejects('setElements()', setElements, [
  ['elements in the wrong order', '020102 020101'],
  ['a longer element before a shorter one', '0402aaaa 0401aa'],
]);

rejects('integerContent()', (value) => integerContent(onlyValue(value)), [
  ['no content', '0200'],
  ['a leading zero', '02020001'],
  ['leading ones', '0202ff80'],
  ['another tag', '0a0101'],
]);

rejects('bitStringBytes()', (value) => bitStringBytes(onlyValue(value)), [
  ['no content', '0300'],
  ['unused bits', '030204f0'],
]);

rejects('oidText()', (value) => oidText(onlyValue(value)), [
  ['no content', '0600'],
  ['an unfinished number', '06022a86'],
  ['a leading zero in a number', '06032a8001'],
]);

describe('readStrictDer()', () => {
  it('reads what writeDer() writes', () => {
    const value = fc.record(
      {
        tag: fc.constantFrom(2, 4, 0x30, 0x82, 0xa0),
        content: fc.uint8Array({ maxLength: 400 }),
      },
      { noNullPrototype: true },
    );
    fc.assert(
      fc.property(fc.array(value), (values) => {
        const encoded = Buffer.concat(values.map(({ tag, content }) => writeDer(tag, content)));
        const read = readStrictDer(encoded).map(({ tag, content }) => ({
          tag,
          content: Uint8Array.from(content),
        }));
        assert.deepEqual(read, values);
      }),
    );
  });

  it('accepts nothing that writeDer() would write in another way', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 12 }), (encoded) => {
        const values = valuesOf(encoded);
        fc.pre(values !== undefined);
        const again = Buffer.concat(
          (values ?? []).map(({ tag, content }) => writeDer(tag, content)),
        );
        assert.deepEqual(Uint8Array.from(again), Uint8Array.from(encoded));
      }),
      { numRuns: 500 },
    );
  });
});

function valuesOf(encoded: Uint8Array) {
  try {
    return readStrictDer(encoded);
  } catch {
    return undefined;
  }
}

describe('oidText()', () => {
  it('reads an OBJECT IDENTIFIER', () => {
    assert.equal(oidText(onlyValue(bytes('06092a864886f70d01090e'))), '1.2.840.113549.1.9.14');
  });
});
