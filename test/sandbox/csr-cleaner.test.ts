import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hour } from '../../src/core/instant.ts';
import type { SandboxOptions } from '../../src/sandbox/sandbox.ts';
import type { Running } from './fixtures.ts';
import { csrBody, csrsPath, makeRequest, run, waitFor } from './fixtures.ts';

async function withRequests(
  options: Partial<SandboxOptions>,
  ...names: readonly string[]
): Promise<Running> {
  const running = await run(options);
  const { pem } = await makeRequest();
  for (const name of names) {
    const body = csrBody(name, pem);
    await running.bootstrapper.must({ method: 'POST', path: csrsPath, body });
  }
  return running;
}

function standing({ sandbox }: Running): string[] {
  return sandbox.csrs().map(({ metadata }) => metadata.name);
}

/** Settles when a watch tells of it; the test's timeout ends the wait. */
async function deletionOf({ bootstrapper }: Running, name: string): Promise<void> {
  const stop = new AbortController();
  const path = `${csrsPath}?watch=true&fieldSelector=metadata.name%3D${name}`;
  for await (const event of bootstrapper.watch(path, stop.signal)) {
    if ((event as { type: string }).type === 'DELETED') return stop.abort();
  }
}

describe('runCsrCleaner()', { timeout: 20_000 }, () => {
  it('looks every hour: decided requests go after an hour, undecided ones after a day', async () => {
    const names = ['approved', 'denied', 'failed', 'pending'];
    await using running = await withRequests({ approving: false, signing: false }, ...names);
    const { sandbox, clock } = running;
    sandbox.approve('approved');
    sandbox.deny('denied', 'NotWanted');
    sandbox.fail('failed', 'NotPossible');
    // At the first look they are an hour old, and not yet older.
    await clock.advance(hour);
    assert.deepEqual(standing(running), names);
    await clock.advance(hour);
    assert.deepEqual(standing(running), ['approved', 'pending']);
    await clock.advance(22 * hour);
    assert.deepEqual(standing(running), ['approved', 'pending']);
    await clock.advance(hour);
    assert.deepEqual(standing(running), []);
  });

  for (const [what, signingSeconds, hours] of [
    ['an expired certificate', 20, 1],
    ['a valid one', 86_400, 2],
  ] as const) {
    it(`deletes the request for ${what} at look ${hours}, and watchers hear of it`, async () => {
      await using running = await withRequests({ signingSeconds }, 'mine');
      const { bootstrapper, clock } = running;
      await waitFor(bootstrapper, 'mine', ({ status }) => status.certificate !== undefined);
      const deleted = deletionOf(running, 'mine');
      await clock.advance(hours * hour - 1);
      assert.deepEqual(standing(running), ['mine']);
      await clock.advance(1);
      assert.deepEqual(standing(running), []);
      await deleted;
    });
  }

  it('ends with the sandbox', async () => {
    const running = await withRequests({});
    assert.equal(running.clock.sleeping, 1);
    await running[Symbol.asyncDispose]();
    assert.equal(running.clock.sleeping, 0);
  });
});
