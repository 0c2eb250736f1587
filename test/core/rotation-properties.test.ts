import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { CertificateTemplate } from '../../src/core/certificate-spec.ts';
import { errorCodes } from '../../src/core/errors.ts';
import { day, hour, minute, second } from '../../src/core/instant.ts';
import { blockedBy, dueReason, nextWake } from '../../src/core/rotation-due.ts';
import { initialState } from '../../src/core/rotation-state.ts';
import type {
  RotationEffect,
  RotationEvent,
  RotationState,
} from '../../src/core/rotation-state.ts';
import { step } from '../../src/core/rotation.ts';
import type { RotationWindow } from '../../src/core/schedule.ts';
import { requestDelay } from '../../src/core/timing.ts';
import { pairFor, servingTemplate, start } from './fixtures.ts';
import { rotationWindow } from './rotation-window.ts';

/** Properties of any sequence of events and clock jumps, even of impossible ones. */

const templates: readonly CertificateTemplate[] = [
  servingTemplate,
  { ...servingTemplate, ipAddresses: ['10.0.0.1', 'fd00::1'] },
  { ...servingTemplate, dnsNames: [] },
];

/** An event, and how far the clock moves before it. */
interface Move {
  readonly wait: number;
  readonly random: number;
  readonly event: (now: number) => RotationEvent;
}

const template = fc.constantFrom(...templates);
const pair = fc.record({
  template,
  age: fc.integer({ min: -hour, max: 2 * day }),
  lifetime: fc.constantFrom(20 * second, hour, day, 365 * day),
  selfSigned: fc.boolean(),
});

function pairAt(now: number, wanted: typeof pair extends fc.Arbitrary<infer T> ? T : never) {
  const notBefore = now - wanted.age;
  const notAfter = notBefore + wanted.lifetime;
  const { selfSigned } = wanted;
  const built = pairFor(wanted.template, { notBefore, notAfter, storedAt: now, selfSigned });
  return { pair: built };
}

const failure = fc.record(
  {
    code: fc.constantFrom(...errorCodes),
    message: fc.constant('it failed'),
    retryAfterMs: fc.integer({ min: 0, max: day }),
  },
  { requiredKeys: ['code', 'message'] },
);
const csr = fc
  .integer({ min: -day, max: day })
  .map((offset) => ({ name: 'node-csr-a', uid: '1', createdAt: start + offset }));

const event: fc.Arbitrary<(now: number) => RotationEvent> = fc.oneof(
  fc.constant(() => ({ type: 'tick' }) as const),
  fc.constant(() => ({ type: 'files-changed' }) as const),
  fc.constant(() => ({ type: 'credential-changed' }) as const),
  fc.constant(() => ({ type: 'renew' }) as const),
  fc.constantFrom('4f2a', 'b').map((serial) => () => ({ type: 'behind', serial }) as const),
  fc.boolean().map((observed) => () => ({ type: 'inspected', observed }) as const),
  pair.map((wanted) => (now: number) => ({ type: 'inspected', ...pairAt(now, wanted) }) as const),
  pair.map((wanted) => (now: number) => ({ type: 'stored', ...pairAt(now, wanted) }) as const),
  fc
    .record(
      { wanted: pair, count: fc.integer({ min: 1, max: 9 }), ahead: fc.integer({ max: 3 * day }) },
      { requiredKeys: ['wanted', 'count'] },
    )
    .map(({ wanted, count, ahead }) => (now: number) => ({
      type: 'rolled-back' as const,
      ...pairAt(now, wanted),
      failure: { code: 'SERVED_STALE' as const, message: 'another one is served' },
      count,
      ...(ahead !== undefined && { until: now + ahead }),
    })),
  fc.constant(() => ({ type: 'template' }) as const),
  template.map((template) => () => ({ type: 'template', template }) as const),
  fc.boolean().map((ready) => () => ({ type: 'identity', ready }) as const),
  fc
    .record({ stage: fc.constantFrom('pending' as const, 'approved', 'issued'), csr })
    .map((rest) => () => ({ type: 'progress', ...rest }) as const),
  fc
    .record({ failure, resumable: fc.boolean() })
    .map((rest) => () => ({ type: 'failed', ...rest }) as const),
  failure.map((failure) => () => ({ type: 'inspection-failed', failure }) as const),
);

const move: fc.Arbitrary<Move> = fc.record({
  wait: fc.oneof(
    { weight: 4, arbitrary: fc.integer({ min: 0, max: 20 * second }) },
    { weight: 3, arbitrary: fc.integer({ min: 0, max: 2 * hour }) },
    { weight: 1, arbitrary: fc.integer({ min: -3 * 365 * day, max: 3 * 365 * day }) },
  ),
  random: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  event,
});

const beginning = fc.record({
  identityReady: fc.boolean(),
  delay: fc.nat(8).map(requestDelay),
  window: rotationWindow,
  fraction: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
});
type Beginning = typeof beginning extends fc.Arbitrary<infer T> ? T : never;
const moves = fc.array(move, { maxLength: 60 });

interface Moment {
  readonly now: number;
  readonly event: RotationEvent;
  readonly state: RotationState;
  readonly effects: readonly RotationEffect[];
}

/** Every step of a sequence, with the resulting state and effects. */
function* play(options: Beginning, moves: readonly Move[]): Generator<Moment> {
  let now = start;
  let state = initialState({ now, ...options });
  for (const { wait, random, event: at } of moves) {
    now += wait;
    const event = at(now);
    const { window, fraction } = options;
    const next = step(state, event, { now, random, window, fraction: () => fraction });
    state = next.state;
    yield { now, event, state, effects: next.effects };
  }
}

function holds(check: (moment: Moment) => void): void {
  fc.assert(
    fc.property(beginning, moves, (options, moves) => {
      for (const moment of play(options, moves)) check(moment);
    }),
    { numRuns: 2_000 },
  );
}

describe('step() with any sequence of events and clock jumps', () => {
  it('never starts a request before the previous one ended', () => {
    fc.assert(
      fc.property(beginning, moves, (options, moves) => {
        let open = false;
        for (const { event, effects } of play(options, moves)) {
          if (event.type === 'stored' || event.type === 'failed') open = false;
          for (const effect of effects) {
            if (effect.type === 'abandon') open = false;
            if (effect.type !== 'enroll') continue;
            assert.equal(open, false);
            open = true;
          }
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('requests only with credential and template, and for that template', () => {
    holds(({ state, effects }) => {
      for (const effect of effects) {
        if (effect.type !== 'enroll') continue;
        assert.equal(effect.template, state.template);
        assert.equal(state.identityReady, true);
      }
    });
  });

  it('keeps finite times, and reports a recovery after failures', () => {
    const kinds = new Set(['inspecting', 'idle', 'enrolling', 'backing-off']);
    holds(({ now, state }) => {
      const { phase } = state;
      assert.ok(kinds.has(phase.kind));
      assert.ok(phase.since <= now);
      // Twelve hours, plus or minus half.
      if (phase.kind === 'backing-off') assert.ok(phase.delay >= 0 && phase.delay <= 18 * hour);
      assert.equal(state.pair === undefined, state.deadline === undefined);
      assert.deepEqual(structuredClone(state), state);
    });
  });

  it('never wakes in the past', () => {
    holds(({ now, state }) => {
      const wake = nextWake(state, now);
      assert.ok(wake > now, `${JSON.stringify(state)} wakes at ${wake}, it is ${now}`);
    });
  });

  it('requests if and only if a certificate is due and not blocked', () => {
    holds(({ now, state }) => {
      if (state.phase.kind !== 'idle') return;
      assert.ok(dueReason(state, now) === undefined || blockedBy(state, now) !== undefined);
    });
  });

  it('ends with a valid pair if every request is answered', () => {
    fc.assert(
      fc.property(beginning, moves, (options, moves) => {
        const last = [...play(options, moves)].at(-1);
        const world = new World(
          options.window,
          last ?? { state: initialState({ now: start, ...options }), now: start },
        );
        world.takeUpWhatIsOpen();
        // The longest back-off is 12 h plus half.
        for (let elapsed = 0; elapsed < 19 * hour; elapsed += minute) world.minute();
        assert.equal(world.state.phase.kind, 'idle');
        assert.equal(dueReason(world.state, world.now), undefined);
        assert.ok((world.state.pair?.notAfter ?? 0) > world.now);
        assert.equal(world.state.failures, 0);
      }),
      { numRuns: 300 },
    );
  });
});

/** An enroller and a signer that answer every request, and a clock that ticks. */
class World {
  state: RotationState;
  now: number;
  readonly #window: RotationWindow;
  #issued = 0;

  constructor(
    window: RotationWindow,
    { state, now }: { readonly state: RotationState; readonly now: number },
  ) {
    this.#window = window;
    this.state = state;
    this.now = now;
  }

  /** The request that the previous sequence left without a reply. */
  takeUpWhatIsOpen(): void {
    const { kind } = this.state.phase;
    this.send({ type: 'identity', ready: true });
    this.send({ type: 'template', template: servingTemplate });
    const { observed, pair, deadline } = this.state;
    if (observed) this.send({ type: 'inspected', ...(pair && deadline && { pair, deadline }) });
    if (kind === 'inspecting') this.answer({ type: 'inspect' });
    if (kind === 'enrolling')
      this.answer({ type: 'enroll', template: servingTemplate, reason: 'no-pair' });
  }

  minute(): void {
    this.now += minute;
    this.send({ type: 'tick' });
  }

  send(event: RotationEvent): void {
    const { state, effects } = step(this.state, event, {
      now: this.now,
      random: 0.5,
      window: this.#window,
      fraction: () => 0.5,
    });
    this.state = state;
    for (const effect of effects) this.answer(effect);
  }

  answer(effect: RotationEffect): void {
    if (effect.type === 'enroll') {
      const wanted = { template: effect.template, age: 0, lifetime: day, selfSigned: false };
      const { pair } = pairAt(this.now, wanted);
      this.#issued += 1;
      this.send({ type: 'stored', pair: { ...pair, serial: `c${this.#issued}` } });
    }
    if (effect.type !== 'inspect') return;
    const { pair, deadline } = this.state;
    const found = pair !== undefined && deadline !== undefined && { pair, deadline };
    this.send({ type: 'inspected', ...found });
  }
}
