import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { ErrorCode } from '../../src/core/errors.ts';
import { errorCodes } from '../../src/core/errors.ts';
import { day, hour, minute, second } from '../../src/core/instant.ts';
import { nextWake } from '../../src/core/rotation-due.ts';
import { initialState } from '../../src/core/rotation-state.ts';
import type { RotationEvent, RotationState } from '../../src/core/rotation-state.ts';
import { step } from '../../src/core/rotation.ts';
import { kubeletWindow } from '../../src/core/schedule.ts';
import { pairFor, servingTemplate, start } from './fixtures.ts';

/** Properties of the loop when the wall clock jumps at any moment to any other. Timers do not notice jumps. */

interface Jump {
  /** Milliseconds of real time since the previous jump. */
  readonly after: number;
  readonly by: number;
}

/** The result of a request. */
interface Answer {
  readonly after: number;
  /** Lifetime of the issued certificate; absent after a failure. */
  readonly lifetime?: number;
  readonly code: ErrorCode;
  readonly resumable: boolean;
}

const year = 365 * day;

const jump: fc.Arbitrary<Jump> = fc.record({
  after: fc.integer({ min: 0, max: 5 * minute }),
  by: fc.oneof(
    fc.integer({ min: -2 * minute, max: 2 * minute }),
    fc.integer({ min: -2 * day, max: 2 * day }),
    fc.integer({ min: -60 * year, max: 60 * year }),
  ),
});
const jumps = fc.array(jump, { maxLength: 15 });

const answer: fc.Arbitrary<Answer> = fc.record(
  {
    after: fc.integer({ min: 0, max: 2 * minute }),
    lifetime: fc.constantFrom(30 * second, 10 * minute, day, year),
    code: fc.constantFrom(...errorCodes),
    resumable: fc.boolean(),
  },
  { requiredKeys: ['after', 'code', 'resumable'] },
);
const answers = fc.array(answer, { minLength: 1, maxLength: 8 });

/** The keeper's loop around one certificate, in steps of a second of real time. */
class Loop {
  /** Real time, which timers count. */
  elapsed = 0;
  requests = 0;
  state: RotationState;
  #ahead = 0;
  #nextTick = 0;
  /** When the request in progress is answered, and how. */
  #due: { readonly at: number; readonly answer: Answer } | undefined;
  readonly #answers: readonly Answer[];

  constructor(answers: readonly Answer[]) {
    this.#answers = answers;
    this.state = initialState({ now: this.now, identityReady: true, delay: 0 });
    this.#send({ type: 'template', template: servingTemplate });
    this.#send({ type: 'inspected' });
  }

  get now(): number {
    return start + this.#ahead + this.elapsed;
  }

  jump(by: number): void {
    this.#ahead += by;
  }

  pass(): void {
    this.elapsed += second;
    const due = this.#due;
    if (due !== undefined && this.elapsed >= due.at) {
      this.#due = undefined;
      this.#send(this.#report(due.answer));
    }
    if (this.elapsed < this.#nextTick) return;
    this.#send({ type: 'tick' });
  }

  /** Independent of the functions under test: a pair is missing or past its deadline, and no attempt is in progress or planned. */
  get called(): boolean {
    const { pair, deadline, phase } = this.state;
    if (phase.kind === 'enrolling') return false;
    if (phase.kind === 'backing-off' && this.now < phase.since + phase.delay) return false;
    return pair === undefined || deadline === undefined || this.now >= deadline;
  }

  #report({ lifetime, code, resumable }: Answer): RotationEvent {
    const { now } = this;
    if (lifetime === undefined) {
      return { type: 'failed', failure: { code, message: 'it failed' }, resumable };
    }
    const times = { notBefore: now - 5 * minute, notAfter: now + lifetime, storedAt: now };
    const pair = pairFor(servingTemplate, { ...times, serial: String(this.elapsed) });
    return { type: 'stored', pair };
  }

  /** Like the keeper, which ticks after every reply and sleeps at most a minute. */
  #send(event: RotationEvent): void {
    const { state, effects } = step(this.state, event, {
      now: this.now,
      random: 0.5,
      window: kubeletWindow,
      fraction: () => 0.5,
    });
    this.state = state;
    for (const effect of effects) {
      if (effect.type === 'inspect') this.#send({ type: 'inspected', ...this.#found() });
      if (effect.type === 'abandon') this.#due = undefined;
      if (effect.type === 'enroll') this.#request();
    }
    const wait = nextWake(this.state, this.now) - this.now;
    this.#nextTick = this.elapsed + Math.min(Math.max(wait, second / 10), minute);
  }

  #request(): void {
    const answer = this.#answers[this.requests % this.#answers.length];
    assert.ok(answer !== undefined);
    this.requests += 1;
    this.#due = { at: this.elapsed + answer.after, answer };
  }

  #found(): object {
    const { pair, deadline } = this.state;
    return pair === undefined || deadline === undefined ? {} : { pair, deadline };
  }
}

/** Lets the time between the jumps pass, and an hour after the last one. */
function play(loop: Loop, jumps: readonly Jump[], look: () => void = () => undefined): void {
  const pass = (ms: number): void => {
    for (const end = loop.elapsed + ms; loop.elapsed < end;) {
      loop.pass();
      look();
    }
  };
  for (const { after, by } of jumps) {
    pass(after);
    loop.jump(by);
  }
  pass(hour);
}

describe('step() in a loop with any sequence of clock jumps', () => {
  it('acts within 60 seconds of the deadline on the wall clock', () => {
    fc.assert(
      fc.property(answers, jumps, (answers, jumps) => {
        const loop = new Loop(answers);
        let since: number | undefined;
        play(loop, jumps, () => {
          since = loop.called ? (since ?? loop.elapsed) : undefined;
          const late = since === undefined ? 0 : loop.elapsed - since;
          assert.ok(late <= minute, `called for ${late} ms, ${JSON.stringify(loop.state)}`);
        });
      }),
      { numRuns: 300 },
    );
  });

  it('requests only as often as deadlines and jumps require', () => {
    fc.assert(
      fc.property(fc.nat(minute), jumps, (after, jumps) => {
        // A clock that is ahead may cause a request, and each one leaves a CSR in the cluster.
        const loop = new Loop([{ after, code: 'CERT_EXPIRED', resumable: false }]);
        play(loop, jumps);
        const most = 1 + jumps.length + loop.elapsed / (5 * minute);
        assert.ok(loop.requests <= most, `${loop.requests} requests, at most ${most}`);
      }),
      { numRuns: 200 },
    );
  });

  it('ends with a valid pair after any clock jumps', () => {
    const issued: Answer = { after: 5 * second, lifetime: day, code: 'INTERNAL', resumable: false };
    fc.assert(
      fc.property(jumps, (jumps) => {
        const loop = new Loop([issued]);
        play(loop, jumps);
        const { phase, pair } = loop.state;
        assert.equal(phase.kind, 'idle');
        assert.ok(pair !== undefined && pair.notAfter > loop.now);
      }),
      { numRuns: 200 },
    );
  });
});
