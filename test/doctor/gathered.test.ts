import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AgentError } from '../../src/core/errors.ts';
import { second } from '../../src/core/instant.ts';
import { gather, judged } from '../../src/doctor/gathered.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { seen } from './seen.ts';

const { signal } = new AbortController();
const look = { what: 'the moon', ms: 5 * second, timeoutCode: 'STORE_IO' } as const;

async function fails(): Promise<never> {
  throw new AgentError('STORE_IO', 'dark', { remedy: 'wait' });
}

describe('gather()', () => {
  it('gather() hands on what was found, and stops its timer', async () => {
    const clock = new FakeClock();
    const found = await gather({ ...look, look: async () => 7 }, { clock, signal });
    assert.deepEqual(found, { kind: 'known', value: 7 });
    await clock.advance(10 * second);
  });

  it('gather() makes an answer of a failure', async () => {
    const clock = new FakeClock();
    const found = await gather({ ...look, look: fails }, { clock, signal });
    const failure = { code: 'STORE_IO', message: 'dark', remedy: 'wait' } as const;
    assert.deepEqual(found, { kind: 'unknown', failure });
    assert.deepEqual(seen(judged('the moon', found, () => [])), ['warning not-checked']);
  });

  it('gather() gives up on a look that does not even hear its signal', async () => {
    const clock = new FakeClock();
    let aborted = false;
    const deaf = (signal: AbortSignal): Promise<never> => {
      signal.addEventListener('abort', () => {
        aborted = true;
      });
      return new Promise(() => undefined);
    };
    const waiting = gather({ ...look, look: deaf }, { clock, signal });
    await clock.advance(5 * second);
    const found = await waiting;
    assert.ok(found.kind === 'unknown');
    assert.equal(found.failure.message, 'the moon: not done within 5 s');
    assert.equal(aborted, true);
  });

  it('gather() tells when a look begins and when it is over', async () => {
    const told: string[] = [];
    const onProgress = (what: string, state: string): void => void told.push(`${what} ${state}`);
    await gather({ ...look, look: async () => 1 }, { clock: new FakeClock(), signal, onProgress });
    assert.deepEqual(told, ['the moon begun', 'the moon over']);
  });
});
