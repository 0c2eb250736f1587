import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { minute, second } from '../../../src/core/instant.ts';
import type { TrustLockRequest } from '../../../src/trust/node/trust-lock.ts';
import { lockTrust } from '../../../src/trust/node/trust-lock.ts';
import { temporaryDirectory } from '../../store/pairs.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { until } from '../../support/until.ts';

async function requestOf(
  context: TestContext,
): Promise<TrustLockRequest & { readonly clock: FakeClock }> {
  const stateDirectory = await temporaryDirectory(context);
  const { signal } = new AbortController();
  return { config: { stateDirectory }, clock: new FakeClock(), signal };
}

describe('lockTrust()', () => {
  it('waits until the other command has ended', async (context) => {
    const request = await requestOf(context);
    const { clock } = request;
    const other = await lockTrust(request);
    const waiting = lockTrust(request);
    await until('the wait', () => clock.sleeping === 1);
    await other[Symbol.asyncDispose]();
    await clock.advance(second);
    await using held = await waiting;
    assert.equal(await held.state(), 'effective');
  });

  it('waits for at most a minute', async (context) => {
    const request = await requestOf(context);
    const { clock } = request;
    await using _ = await lockTrust(request);
    const refused = assert.rejects(lockTrust(request), {
      code: 'STORE_LOCKED',
      message: /is changing the CAs of this node/,
    });
    await until('the wait', () => clock.sleeping === 1);
    await clock.advance(minute);
    await refused;
  });
});
