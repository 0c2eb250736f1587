import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { skipWithout } from '../support/programs.ts';
import { api } from './api.ts';
import type { FaultRow } from './family.ts';

/** The expected message for each fault. */
const messages: readonly (readonly [fault: string, says: RegExp])[] = [
  ['connection refused', /API_UNREACHABLE/],
  ['reset mid-body', /API_UNREACHABLE/],
  ['body of 200 MiB', /API_BAD_RESPONSE/],
  ['429 with Retry-After in seconds', /API_THROTTLED/],
  ['500', /API_SERVER_ERROR/],
  ['410 as an event of a watch', /at most/],
  ['CSR deleted, and its name used and issued for another requestor', /CSR_DELETED/],
  ['wrong certificate: other key', /CERT_KEY_MISMATCH/],
];

describe('an agent behind a faulty API server', { skip: skipWithout('faketime') }, () => {
  it('keeps its pair, reports the problem, and recovers by itself', async (context) => {
    const rows: FaultRow[] = [];
    const options = {
      thorough: false,
      signal: context.signal,
      progress: (text: string) => context.diagnostic(text),
    };
    for await (const row of api.run(options)) rows.push(row);

    assert.deepEqual(
      rows.map(({ fault }) => fault),
      messages.map(([fault]) => fault),
    );
    for (const [index, { fault, tried, lost, recovery, seen }] of rows.entries()) {
      assert.equal(lost, 0, fault);
      assert.ok(tried > 0 && recovery !== undefined, fault);
      assert.match(seen.join(', '), messages[index]?.[1] ?? /unreachable/, fault);
    }
  });
});
