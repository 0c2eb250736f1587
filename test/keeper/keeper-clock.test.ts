import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { ChildListener, EnrollerChild } from '../../src/keeper/enroller-link.ts';
import { Keeper } from '../../src/keeper/keeper.ts';
import { HookJournal } from '../../src/keeper/hook-journal.ts';
import { RequestJournal } from '../../src/keeper/request-journal.ts';
import type { EnrollerReply, EnrollerRequest } from '../../src/core/enroller-protocol.ts';
import type { ErrorCode } from '../../src/core/errors.ts';
import { day, hour, minute, second } from '../../src/core/instant.ts';
import { clientTemplate, pairFor, start } from '../core/fixtures.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { agentConfig, RecordingLogger, RecordingObserver } from './fixtures.ts';

interface Jump {
  /** Milliseconds of real time since the previous jump. */
  readonly after: number;
  readonly by: number;
}

/** The result of a request: a certificate with this lifetime, or a failure. */
type Answer = { readonly lifetime: number } | { readonly code: ErrorCode };

const year = 365 * day;

const jumps: fc.Arbitrary<readonly Jump[]> = fc.array(
  fc.record({
    after: fc.integer({ min: 0, max: 3 * minute }),
    by: fc.oneof(
      fc.integer({ min: -2 * minute, max: 2 * minute }),
      fc.integer({ min: -2 * day, max: 2 * day }),
      fc.integer({ min: -60 * year, max: 60 * year }),
    ),
  }),
  { minLength: 1, maxLength: 5 },
);
const answers: fc.Arbitrary<readonly Answer[]> = fc.array(
  fc.oneof(
    fc.record({ lifetime: fc.constantFrom(2 * minute, hour, year) }),
    fc.record({
      code: fc.constantFrom<ErrorCode>('API_UNREACHABLE', 'API_UNTRUSTED', 'CERT_EXPIRED'),
    }),
  ),
  { minLength: 1, maxLength: 5 },
);

/** A keeper on a clock that can be set, with an enroller that answers at once. */
class Machine implements AsyncDisposable {
  readonly clock = new FakeClock(start);
  readonly keeper: Keeper;
  requests = 0;
  readonly #directory: string;
  readonly #answers: readonly Answer[];
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  private constructor(directory: string, answers: readonly Answer[]) {
    this.#directory = directory;
    this.#answers = answers;
    this.keeper = new Keeper({
      config: agentConfig(directory),
      version: 'test',
      clock: this.clock,
      random: () => 0.5,
      interfaces: () => [],
      launch: (listener) => this.#launch(listener),
      logger: new RecordingLogger(),
      observer: new RecordingObserver(),
      hookJournal: new HookJournal({}, () => undefined),
      journal: new RequestJournal({}, () => undefined),
      releaseMemory: () => undefined,
      preflight: false,
    });
    this.#running = this.keeper.run(this.#stop.signal);
  }

  static async open(answers: readonly Answer[]): Promise<Machine> {
    const directory = await mkdtemp(join(tmpdir(), 'nodecertd-keeper-clock-'));
    await mkdir(join(directory, 'pki'));
    return new Machine(directory, answers);
  }

  /** Uses only the status: a pair is missing or past its deadline, and no attempt is in progress or planned. */
  get called(): boolean {
    const [certificate] = this.keeper.status().certificates;
    assert.ok(certificate !== undefined);
    const { state, current, rotationDeadline = 0, nextAttempt } = certificate;
    const now = this.clock.now();
    if (state === 'starting') return false;
    if (state === 'backing-off') return nextAttempt !== undefined && now >= nextAttempt;
    return current === undefined || now >= rotationDeadline;
  }

  /** Between its pauses the loop waits for real files, while no time passes. */
  async pass(ms: number): Promise<void> {
    const end = performance.now() + 20 * second;
    while (this.clock.sleeping === 0) {
      assert.ok(performance.now() < end, 'the loop does not come to its pause');
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
    await this.clock.advance(ms);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await rm(this.#directory, { recursive: true, force: true });
  }

  #launch(listener: ChildListener): EnrollerChild {
    return {
      pid: 4_711,
      send: (command) => {
        setImmediate(() => {
          if (command.type === 'abandon') return;
          for (const reply of this.#replies(command)) {
            listener.onMessage({ ...reply, id: command.id });
          }
        });
      },
      disconnect: () => void setImmediate(() => listener.onExit('exit code 0')),
      kill: () => undefined,
    };
  }

  #replies(command: EnrollerRequest): EnrollerReply[] {
    if (command.type === 'inspect') {
      const pair = this.keeper.status().certificates[0]?.current;
      const found = pair !== undefined && { pair };
      return [{ type: 'inspected', ...found, findings: [] }];
    }
    if (command.type !== 'enroll') return [];
    const answer = this.#answers[this.requests % this.#answers.length];
    assert.ok(answer !== undefined);
    this.requests += 1;
    if ('code' in answer) {
      const failure = { code: answer.code, message: 'it failed' };
      return [{ type: 'failed', failure, resumable: false }];
    }
    const now = this.clock.now();
    const times = { notBefore: now - 5 * minute, notAfter: now + answer.lifetime, storedAt: now };
    const pair = pairFor(clientTemplate, { ...times, serial: String(this.requests) });
    return [{ type: 'stored', pair, findings: [] }];
  }
}

const step = second;

describe('Keeper with any sequence of clock jumps', () => {
  it('acts within 60 seconds of the deadline on the wall clock', async () => {
    await fc.assert(
      fc.asyncProperty(answers, jumps, async (answers, jumps) => {
        await using machine = await Machine.open(answers);
        let waited = 0;
        for (const { after, by } of [...jumps, { after: 2 * minute, by: 0 }]) {
          for (let passed = 0; passed < after; passed += step) {
            await machine.pass(step);
            waited = machine.called ? waited + step : 0;
            // The pause may begin in one step and end in the next.
            assert.ok(waited <= minute + 2 * step, `called for ${waited} ms`);
          }
          machine.clock.jump(by);
        }
      }),
      { numRuns: 12, endOnFailure: true },
    );
  });
});
