import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { errorCodes } from '../../src/core/errors.ts';
import { second } from '../../src/core/instant.ts';
import { isTransient, nextDelay } from '../../src/discovery/retry.ts';

describe('isTransient()', () => {
  it('is true for failures of connections and overloaded servers only', () => {
    const transient = errorCodes.filter((code) => isTransient({ code }));
    assert.deepEqual(transient.toSorted(), [
      'API_SERVER_ERROR',
      'API_THROTTLED',
      'API_TIMEOUT',
      'API_UNREACHABLE',
    ]);
  });
});

describe('nextDelay()', () => {
  it('doubles from 5 s to 30 s', () => {
    const delays = [0, 1, 2, 3, 4, 1_000_000].map((failures) => nextDelay(failures) / second);
    assert.deepEqual(delays, [5, 10, 20, 30, 30, 30]);
  });
});
