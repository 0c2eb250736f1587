import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { editDistance, nearest } from '../../src/config/nearest.ts';

describe('nearest()', () => {
  const keys = ['kubeconfig', 'bootstrapKubeconfig', 'certificateDirectory', 'profile', 'log'];
  const cases: readonly (readonly [string, string | undefined])[] = [
    ['kubeconfg', 'kubeconfig'],
    ['proflie', 'profile'],
    ['certificate_directory', 'certificateDirectory'],
    ['bootstrap-kubeconfig', 'bootstrapKubeconfig'],
    ['KUBECONFIG', 'kubeconfig'],
    ['lgo', 'log'],
    ['cert-dir', 'certificateDirectory'],
    ['pro', undefined],
    ['zzz', undefined],
    ['', undefined],
    ['kubeconfig'.repeat(100), undefined],
  ];
  for (const [word, meant] of cases) {
    it(`reads ${word.slice(0, 30) || 'nothing'} as ${meant ?? 'no key'}`, () => {
      assert.equal(nearest(word, keys), meant);
    });
  }
});

describe('editDistance()', () => {
  const cases: readonly (readonly [string, string, number])[] = [
    ['', '', 0],
    ['', 'abc', 3],
    ['abc', 'abc', 0],
    ['abc', 'acb', 1],
    ['kitten', 'sitting', 3],
    // The restricted distance has no edit inside a swapped pair.
    ['ca', 'abc', 3],
  ];
  for (const [from, to, distance] of cases) {
    it(`counts ${distance} from "${from}" to "${to}"`, () => {
      assert.equal(editDistance(from, to), distance);
    });
  }

  it('is symmetric, and zero for equal words only', () => {
    const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 8 });
    fc.assert(
      fc.property(word, word, (a, b) => {
        assert.equal(editDistance(a, b), editDistance(b, a));
        assert.equal(editDistance(a, b) === 0, a === b);
        assert.ok(editDistance(a, b) <= Math.max(a.length, b.length));
      }),
    );
  });
});
