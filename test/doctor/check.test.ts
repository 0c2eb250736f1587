import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { AgentError } from '../../src/core/errors.ts';
import { second } from '../../src/core/instant.ts';
import { evaluate, runCheck } from '../../src/doctor/check.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { withoutAccess } from '../support/without-access.ts';
import { summaryOf, textOf } from './findings.ts';

const { signal } = new AbortController();
const check = { what: 'the disk', timeoutMs: 5 * second, timeoutCode: 'STORE_IO' } as const;

async function fails(): Promise<never> {
  throw new AgentError('STORE_IO', 'read failed', { remedy: 'wait' });
}

describe('runCheck()', () => {
  it('returns the value and stops its timer', async () => {
    const clock = new FakeClock();
    const result = await runCheck({ ...check, inspect: async () => 7 }, { clock, signal });
    assert.deepEqual(result, { kind: 'done', value: 7 });
    await clock.advance(10 * second);
  });

  it('returns the failure of a check that throws', async () => {
    const clock = new FakeClock();
    const result = await runCheck({ ...check, inspect: fails }, { clock, signal });
    const failure = { code: 'STORE_IO', message: 'read failed', remedy: 'wait' } as const;
    assert.deepEqual(result, { kind: 'failed', failure });
    assert.deepEqual(summaryOf(evaluate('the disk', result, () => [])), ['warning not-checked']);
  });

  it('says what this user may not read, and who may', async (context) => {
    const clock = new FakeClock();
    const directory = await temporaryDirectory(context);
    const file = join(directory, 'state.json');
    const inspect = async (): Promise<Buffer> => readFile(file);
    const result = await withoutAccess(directory, () =>
      runCheck({ ...check, inspect }, { clock, signal }),
    );
    const text = textOf(evaluate('the disk', result, () => []));
    assert.match(text, new RegExp(`^cannot check the disk: user \\d+ may not read ${file}$`, 'm'));
    assert.match(text, /^Run the doctor as the user of the agent, usually root$/m);
  });

  it('gives up on a check that ignores its signal', async () => {
    const clock = new FakeClock();
    let aborted = false;
    const stuck = (signal: AbortSignal): Promise<never> => {
      signal.addEventListener('abort', () => {
        aborted = true;
      });
      return new Promise(() => undefined);
    };
    const running = runCheck({ ...check, inspect: stuck }, { clock, signal });
    await clock.advance(5 * second);
    const result = await running;
    assert.ok(result.kind === 'failed');
    assert.equal(result.failure.message, 'checking the disk timed out after 5 s');
    assert.equal(aborted, true);
  });

  it('reports when the check starts and ends', async () => {
    const calls: string[] = [];
    const onProgress = (what: string, state: string): void => void calls.push(`${what} ${state}`);
    const context = { clock: new FakeClock(), signal, onProgress };
    await runCheck({ ...check, inspect: async () => 1 }, context);
    assert.deepEqual(calls, ['the disk started', 'the disk ended']);
  });
});
