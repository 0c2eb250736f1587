import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hour } from '../../src/core/instant.ts';
import type { SandboxOptions } from './sandbox.ts';
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

function csrNames({ sandbox }: Running): string[] {
  return sandbox.csrs().map(({ metadata }) => metadata.name);
}

describe('runCsrCleaner()', { timeout: 20_000 }, () => {
  it('deletes CSRs an hour after the decision, and pending ones after a day', async () => {
    const names = ['approved', 'denied', 'failed', 'pending'];
    await using running = await withRequests({ approving: false, signing: false }, ...names);
    const { sandbox, clock } = running;
    // Between the first two rounds, because the age of a decided CSR counts from the
    // decision.
    await clock.advance(1.5 * hour);
    sandbox.approve('approved');
    sandbox.deny('denied', 'NotWanted');
    sandbox.fail('failed', 'NotPossible');
    const rounds: string[][] = [];
    for (let round = 2; round <= 26; round += 1) {
      await clock.advance(round === 2 ? hour / 2 : hour);
      rounds.push(csrNames(running));
    }
    assert.deepEqual(rounds[0], names);
    for (const round of rounds.slice(1, 23)) assert.deepEqual(round, ['approved', 'pending']);
    assert.deepEqual(rounds.slice(23), [['approved'], []]);
  });

  for (const [what, signingSeconds, hours] of [
    ['an expired certificate', 20, 1],
    ['a valid one', 86_400, 2],
  ] as const) {
    it(`deletes the CSR for ${what} in round ${hours} and tells watchers`, async () => {
      await using running = await withRequests({ signingSeconds }, 'mine');
      const { bootstrapper, clock } = running;
      await waitFor(bootstrapper, 'mine', ({ status }) => status.certificate !== undefined);
      await clock.advance(hours * hour - 1);
      assert.deepEqual(csrNames(running), ['mine']);
      const stop = new AbortController();
      const events = bootstrapper.watch(`${csrsPath}?watch=true`, stop.signal);
      const nextType = async (): Promise<unknown> =>
        ((await events.next()).value as { type: string }).type;
      assert.equal(await nextType(), 'ADDED');
      await clock.advance(1);
      assert.deepEqual(csrNames(running), []);
      assert.equal(await nextType(), 'DELETED');
      stop.abort();
    });
  }

  it('ends with the sandbox', async () => {
    const running = await withRequests({});
    assert.equal(running.clock.sleeping, 1);
    await running[Symbol.asyncDispose]();
    assert.equal(running.clock.sleeping, 0);
  });
});
