import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { day, hour, minute, second } from '../../src/core/instant.ts';
import { kubeadmDate, kubeadmDuration } from '../../src/cli/kubeadm-format.ts';

describe('kubeadmDate()', () => {
  it('has month, day, year and minute in UTC', () => {
    assert.equal(kubeadmDate(Date.UTC(2027, 0, 3, 4, 5, 59)), 'Jan 03, 2027 04:05 UTC');
    assert.equal(kubeadmDate(Date.UTC(9999, 11, 31, 23, 59)), 'Dec 31, 9999 23:59 UTC');
  });
});

describe('kubeadmDuration()', () => {
  // The table of TestHumanDuration in apimachinery, pkg/util/duration/duration_test.go,.
  const rows = [
    [-2 * second, '<invalid>'],
    [-1 * second, '0s'],
    [0, '0s'],
    [119 * second, '119s'],
    [2 * minute, '2m'],
    [2 * minute + second, '2m1s'],
    [10 * minute + second, '10m'],
    [179 * minute, '179m'],
    [3 * hour, '3h'],
    [7 * hour + 59 * minute, '7h59m'],
    [8 * hour + minute, '8h'],
    [47 * hour + 59 * minute, '47h'],
    [48 * hour, '2d'],
    [2 * day + hour, '2d1h'],
    [8 * day + hour, '8d'],
    [364 * day, '364d'],
    [729 * day, '729d'],
    [730 * day, '2y'],
    [731 * day, '2y1d'],
    [2919 * day, '7y364d'],
    [2920 * day, '8y'],
    [3649 * day, '9y'],
  ] as const;
  for (const [ms, text] of rows) {
    it(`is ${text} for ${ms / second} s`, () => {
      assert.equal(kubeadmDuration(ms), text);
    });
  }
});
