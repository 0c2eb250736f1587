import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ErrorCode } from '../../../../src/core/errors.ts';
import { AgentError } from '../../../../src/core/errors.ts';
import { reading } from '../../../../src/trust/cluster/read/reading.ts';

/** A list of which the first attempts fail. */
function failing(code: ErrorCode, times: number): () => Promise<string> {
  let attempts = 0;
  return async () => {
    attempts += 1;
    if (attempts <= times) throw new AgentError(code, 'HTTP status');
    return `attempt ${attempts}`;
  };
}

describe('reading()', () => {
  it('starts a list again whose next page has expired', async () => {
    assert.deepEqual(await reading(failing('API_GONE', 2)), {
      outcome: 'read',
      value: 'attempt 3',
    });
  });

  it('gives up a list that expires each time', async () => {
    await assert.rejects(reading(failing('API_GONE', 3)), { code: 'API_GONE' });
  });

  it('knows what does not exist, and what the credential may not read', async () => {
    assert.deepEqual(await reading(failing('API_NOT_FOUND', 1)), { outcome: 'absent' });
    const { outcome } = await reading(failing('API_FORBIDDEN', 1));
    assert.equal(outcome, 'forbidden');
    await assert.rejects(reading(failing('API_TIMEOUT', 1)), { code: 'API_TIMEOUT' });
  });
});
