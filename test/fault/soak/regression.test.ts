import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { slopeOf } from './regression.ts';

const xs = Array.from({ length: 50 }, (_, index) => index * 20);

const noise = (x: number): number => (x % 40 === 0 ? 5 : -5);

describe('slopeOf()', () => {
  it('returns the growth per step in spite of noise', () => {
    assert.equal(slopeOf(xs.map((x) => ({ x, y: 7 }))), 0);
    assert.ok(Math.abs(slopeOf(xs.map((x) => ({ x, y: 3 * x + 7 }))) - 3) < 1e-9);
    assert.ok(Math.abs(slopeOf(xs.map((x) => ({ x, y: 3 * x + noise(x) }))) - 3) < 0.01);
  });

  it('throws for no points, and for points of one step', () => {
    assert.throws(() => slopeOf([{ x: 1, y: 2 }]), /1 points have no slope/);
    assert.throws(() => slopeOf([]), /0 points have no slope/);
  });
});
