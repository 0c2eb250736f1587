import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as v from 'valibot';
import { instant } from '../../src/kube/csr-object.ts';

describe('instant', () => {
  const times: readonly [string, string][] = [
    ['2026-11-22T10:00:00Z', '2026-11-22T10:00:00.000Z'],
    ['2026-11-22T10:00:00.250Z', '2026-11-22T10:00:00.250Z'],
    ['2026-11-22T12:00:00+02:00', '2026-11-22T10:00:00.000Z'],
    ['0001-01-01T00:00:00Z', '0001-01-01T00:00:00.000Z'],
  ];
  for (const [text, expected] of times) {
    it(`reads ${text}`, () => {
      assert.equal(v.parse(instant, text), Date.parse(expected));
    });
  }

  const others = ['', '1', '2026', '2026-11-22', '2026-11-22T10:00:00', 'Sun Nov 22 2026'];
  for (const text of [...others, '2026-13-22T10:00:00Z', '+275760-09-13T00:00:00Z']) {
    it(`rejects ${JSON.stringify(text)}`, () => {
      assert.equal(v.safeParse(instant, text).success, false);
    });
  }
});
