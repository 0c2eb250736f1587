import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  deletedCsrDelay,
  longestDelay,
  parseRetryAfter,
  renewalRetryDelay,
  retryAfterDelay,
  retryDelay,
} from '../../src/core/timing.ts';
import { errorCodes } from '../../src/core/errors.ts';
import type { ErrorCode, Failure } from '../../src/core/errors.ts';
import { hour, minute, second } from '../../src/core/instant.ts';

/** This random number does not change a delay. */
const middle = 0.5;

const failureOf = (code: ErrorCode, retryAfterMs?: number): Failure => ({
  code,
  message: 'failed',
  ...(retryAfterMs !== undefined && { retryAfterMs }),
});

/** First delay and limit of every code. A new code needs an entry here too. */
const classes: Readonly<Record<ErrorCode, readonly [first: number, limit: number]>> = {
  USAGE: [2 * second, 5 * minute],
  CONFIG_UNREADABLE: [2 * second, 5 * minute],
  CONFIG_INVALID: [2 * second, 5 * minute],
  KUBECONFIG_MISSING: [10 * second, 15 * minute],
  KUBECONFIG_INVALID: [10 * second, 15 * minute],
  KUBECONFIG_UNSUPPORTED: [10 * second, 15 * minute],
  CREDENTIAL_EXPIRED: [10 * second, 15 * minute],
  PLUGIN_FAILED: [2 * second, 5 * minute],
  API_UNREACHABLE: [2 * second, 5 * minute],
  API_TIMEOUT: [2 * second, 5 * minute],
  API_UNTRUSTED: [10 * second, 15 * minute],
  API_BAD_RESPONSE: [2 * second, 5 * minute],
  API_BAD_REQUEST: [10 * second, 15 * minute],
  API_UNAUTHORIZED: [10 * second, 15 * minute],
  API_ANONYMOUS: [10 * second, 15 * minute],
  API_FORBIDDEN: [10 * second, 15 * minute],
  API_NOT_FOUND: [10 * second, 15 * minute],
  API_CONFLICT: [minute, hour],
  API_GONE: [2 * second, 5 * minute],
  API_THROTTLED: [2 * second, 5 * minute],
  API_SERVER_ERROR: [2 * second, 5 * minute],
  CLUSTER_UNTRUSTED: [10 * second, 15 * minute],
  TOKEN_REJECTED: [10 * second, 15 * minute],
  CSR_DENIED: [2 * hour, 12 * hour],
  CSR_FAILED: [2 * hour, 12 * hour],
  CSR_DELETED: [minute, hour],
  CERT_MALFORMED: [10 * minute, 6 * hour],
  CERT_KEY_MISMATCH: [10 * minute, 6 * hour],
  CERT_SUBJECT_MISMATCH: [10 * minute, 6 * hour],
  CERT_SAN_MISMATCH: [10 * minute, 6 * hour],
  CERT_USAGE_MISMATCH: [10 * minute, 6 * hour],
  CERT_NOT_YET_VALID: [2 * second, minute],
  CERT_EXPIRED: [10 * minute, 6 * hour],
  CERT_UNTRUSTED: [hour, hour],
  PAIR_MALFORMED: [2 * second, minute],
  STORE_LOCKED: [10 * second, 15 * minute],
  STORE_PERMISSIONS: [2 * second, minute],
  STORE_VOLATILE: [10 * second, 15 * minute],
  STORE_FULL: [2 * second, minute],
  STORE_IO: [2 * second, minute],
  HOOK_FAILED: [2 * second, minute],
  HOOK_TIMEOUT: [2 * second, minute],
  SERVED_STALE: [2 * hour, 12 * hour],
  BOOTSTRAP_EXISTS: [2 * second, 5 * minute],
  NODE_EXISTS: [2 * second, 5 * minute],
  FILE_CHANGED: [2 * second, 5 * minute],
  COMPONENT_RESTART: [2 * second, 5 * minute],
  CA_EXTERNAL: [2 * second, 5 * minute],
  CLOCK_UNTRUSTED: [2 * second, 5 * minute],
  LEASE_LOST: [2 * second, 5 * minute],
  TRUST_REFUSED: [2 * second, 5 * minute],
  KUBELET_RESTART: [2 * second, 5 * minute],
  KEY_UNSUPPORTED: [10 * second, 15 * minute],
  ENROLLER_LOST: [5 * second, hour],
  ENROLLER_HUNG: [5 * second, hour],
  METRICS_LISTEN: [2 * second, 5 * minute],
  CONTROL_LISTEN: [2 * second, 5 * minute],
  AGENT_UNREACHABLE: [2 * second, 5 * minute],
  RENEWAL_PENDING: [2 * second, 5 * minute],
  ABORTED: [2 * second, 5 * minute],
  INTERNAL: [5 * second, hour],
};

describe('retryDelay()', () => {
  for (const code of errorCodes) {
    const [first, limit] = classes[code];
    it(`doubles from ${first / second} s to ${limit / second} s for ${code}`, () => {
      let expected = first;
      for (let failures = 1; failures <= 40; failures += 1) {
        assert.equal(retryDelay(failureOf(code), failures, middle), expected);
        expected = Math.min(expected * 2, limit);
      }
      assert.equal(expected, limit);
    });
  }

  it('is more than an hour after a denied or failed CSR', () => {
    for (const code of ['CSR_DENIED', 'CSR_FAILED'] as const) {
      assert.ok(retryDelay(failureOf(code), 1, 0) >= 0.5 * hour);
      assert.ok(retryDelay(failureOf(code), 2, 0) >= hour);
    }
  });

  it('is spread evenly over a period as long as the delay', () => {
    const failure = failureOf('API_UNREACHABLE');
    const delays = [0, 0.25, 0.5, 0.75].map((random) => retryDelay(failure, 20, random));
    assert.deepEqual(delays, [2.5 * minute, 3.75 * minute, 5 * minute, 6.25 * minute]);
    assert.ok(retryDelay(failure, 20, 1 - Number.EPSILON) <= 7.5 * minute);
  });

  it('spreads nodes with one Retry-After over a period of that length', () => {
    const failure = failureOf('API_THROTTLED', 10 * minute);
    const delays = [0, 0.5].map((random) => retryDelay(failure, 1, random));
    assert.deepEqual(delays, [10 * minute, 15 * minute]);
  });

  const code = fc.constantFrom(...errorCodes);
  const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  const failures = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });

  it('is a positive whole number near its limits for any number of failures', () => {
    fc.assert(
      fc.property(code, failures, random, (code, failures, random) => {
        const delay = retryDelay(failureOf(code), failures, random);
        const [first, limit] = classes[code];
        assert.ok(Number.isInteger(delay));
        assert.ok(delay >= 0.5 * first && delay <= 1.5 * limit);
        assert.ok(delay <= longestDelay(failureOf(code)));
      }),
    );
  });

  it('is between Retry-After and twice that, or the back-off', () => {
    const retryAfter = fc.integer({ min: 0, max: hour });
    fc.assert(
      fc.property(code, retryAfter, failures, random, (...[code, retryAfter, failures, random]) => {
        const delay = retryDelay(failureOf(code, retryAfter), failures, random);
        const alone = retryDelay(failureOf(code), failures, random);
        assert.ok(delay >= retryAfter && delay >= alone);
        assert.ok(delay <= Math.max(alone, 2 * retryAfter));
      }),
    );
  });

  it('limits Retry-After to an hour', () => {
    const delay = retryDelay(failureOf('API_THROTTLED', 365 * 24 * hour), 1, middle);
    assert.ok(delay >= hour && delay <= 2 * hour);
  });
});

describe('renewalRetryDelay()', () => {
  it('doubles from a minute to an hour, with the spread of retryDelay()', () => {
    const delays = [1, 2, 6, 7, 100].map((failures) => renewalRetryDelay(failures, middle));
    assert.deepEqual(delays, [minute, 2 * minute, 32 * minute, hour, hour]);
    assert.deepEqual(
      [renewalRetryDelay(1, 0), renewalRetryDelay(7, 0.75)],
      [minute / 2, 1.25 * hour],
    );
  });
});

describe('deletedCsrDelay()', () => {
  const cases: readonly (readonly [string, number, number])[] = [
    ['nothing for a CSR that was deleted at once', 10, 0],
    ['short for a CSR that was pending for minutes', 8 * minute, 10 * second],
    ['half an hour for a CSR that the cleaner deleted', 24 * hour, 30 * minute],
    ['no more for a CSR that was pending for longer', 1_000 * hour, 30 * minute],
    ['nothing for a CSR from the future', -hour, 0],
  ];
  for (const [name, stood, expected] of cases) {
    it(`is ${name}`, () => {
      assert.equal(deletedCsrDelay(stood), expected);
    });
  }
});

describe('parseRetryAfter()', () => {
  const now = Date.UTC(2026, 0, 1);
  const cases: readonly (readonly [string, string | number | undefined, number | undefined])[] = [
    ['no header', undefined, undefined],
    ['seconds', ' 7 ', 7 * second],
    ['seconds of a Status', 3, 3 * second],
    ['a date', new Date(now + minute).toUTCString(), minute],
    ['a date in the past', new Date(now - minute).toUTCString(), 0],
    ['a year', '31536000', hour],
    ['more digits than a number has', '9'.repeat(400), hour],
    ['not a number', Number.NaN, undefined],
    ['no date', 'soon', undefined],
  ];
  for (const [name, value, expected] of cases) {
    it(`reads ${name}`, () => {
      assert.equal(parseRetryAfter(value, now), expected);
    });
  }
});

describe('retryAfterDelay()', () => {
  it('lies between the value and twice the value, and counts an hour at most', () => {
    assert.deepEqual(
      [0, 0.5].map((random) => retryAfterDelay(minute, random) / minute),
      [1, 1.5],
    );
    assert.equal(retryAfterDelay(30 * hour, 0), hour);
  });
});
