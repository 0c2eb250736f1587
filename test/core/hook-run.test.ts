import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { HookContext, HookEffect, HookEvent, HookState } from '../../src/core/hook-run.ts';
import { hookStep, initialHookState } from '../../src/core/hook-run.ts';
import { minute, second } from '../../src/core/instant.ts';

const context: HookContext = { retries: [1, 0], rotationIdle: true, random: 0.5 };
const reporting: HookContext = { ...context, check: 'report' };
const rollingBack: HookContext = { ...context, check: 'rollback' };

const stored = (serial: string): HookEvent => ({ type: 'stored', serial });
const done: HookEvent = { type: 'hook-ended' };
const failed: HookEvent = { type: 'hook-ended', code: 'HOOK_FAILED' };
const waited: HookEvent = { type: 'wait-ended' };
const checked = (verdict: Extract<HookEvent, { type: 'checked' }>['verdict']): HookEvent => ({
  type: 'checked',
  verdict,
});

/** `run a 1.2`: the second attempt of the hook at position 1, for pair a. */
function nameOf(effect: HookEffect): string {
  switch (effect.type) {
    case 'run-hook':
      return `run ${effect.serial} ${effect.hook}.${effect.attempt}`;
    case 'gave-up':
      return `gave-up ${effect.hook}.${effect.attempt}`;
    case 'retrying':
      return `retrying ${effect.hook}.${effect.attempt} in ${effect.ms / second}`;
    case 'succeeded':
      return `succeeded ${effect.hook}${effect.recovered ? ' again' : ''}`;
    case 'wait':
      return `wait ${effect.ms / second}`;
    case 'check':
      return `check ${effect.serial}${effect.waitForReload ? '' : ' once'}`;
    case 'current':
      return effect.recovered ? 'current again' : 'current';
    case 'roll-back':
    case 'finished':
      return `${effect.type} ${effect.serial}`;
    case 'stop-waiting':
    case 'stale':
    case 'unchecked':
      return effect.type;
    default:
      return effect satisfies never;
  }
}

class Story {
  state: HookState;
  readonly context: HookContext;

  constructor(context: HookContext, noRollbackOf?: string) {
    this.context = context;
    this.state = initialHookState(noRollbackOf);
  }

  on(event: HookEvent, changes: Partial<HookContext> = {}): string[] {
    const { state, effects } = hookStep(this.state, event, { ...this.context, ...changes });
    this.state = state;
    return effects.map(nameOf);
  }

  /** The effects of the last event. */
  after(...events: readonly HookEvent[]): string[] {
    return events.map((event) => this.on(event)).at(-1) ?? [];
  }
}

describe('hookStep() with hooks', () => {
  it('runs one hook after another, and finishes', () => {
    const story = new Story(context);
    assert.deepEqual(story.on(stored('a')), ['run a 0.1']);
    assert.equal(story.state.pending, 'a');
    assert.deepEqual(story.on(done), ['succeeded 0', 'run a 1.1']);
    assert.deepEqual(story.on(done), ['succeeded 1', 'finished a']);
    assert.equal(story.state.pending, undefined);
  });

  it('finishes at once without hooks and check', () => {
    const story = new Story({ ...context, retries: [] });
    assert.deepEqual(story.on(stored('a')), ['finished a']);
  });

  it('retries after growing delays, as often as configured', () => {
    const story = new Story({ ...context, retries: [3] });
    story.on(stored('a'));
    const pauses = [2, 4, 8].map((seconds, index) => {
      assert.deepEqual(story.on(failed), [
        `retrying 0.${index + 1} in ${seconds}`,
        `wait ${seconds}`,
      ]);
      return story.on(waited);
    });
    assert.deepEqual(pauses, [['run a 0.2'], ['run a 0.3'], ['run a 0.4']]);
    assert.deepEqual(story.on(failed), ['gave-up 0.4']);
  });

  it('runs the next hook after a failed one, and keeps the pair pending', () => {
    const story = new Story({ ...context, retries: [0, 0] });
    assert.deepEqual(story.after(stored('a'), failed), ['gave-up 0.1', 'run a 1.1']);
    assert.deepEqual(story.on(done), ['succeeded 1']);
    assert.equal(story.state.pending, 'a');
    assert.deepEqual(story.state.failing, [0]);
  });

  it('does not retry after a final failure', () => {
    const story = new Story({ ...context, retries: [3] });
    story.on(stored('a'));
    const effects = story.on({ type: 'hook-ended', code: 'HOOK_FAILED', final: true });
    assert.deepEqual(effects, ['gave-up 0.1']);
  });

  it('reports that a hook works again', () => {
    const story = new Story({ ...context, retries: [0] });
    story.after(stored('a'), failed);
    assert.deepEqual(story.after(stored('b'), done), ['succeeded 0 again', 'finished b']);
    assert.deepEqual(story.after(stored('c'), done), ['succeeded 0', 'finished c']);
  });

  it('runs nothing twice for one pair', () => {
    const story = new Story(context);
    assert.deepEqual(story.after(stored('a'), stored('a')), []);
    story.after(done, done);
    assert.deepEqual(story.on(stored('a')), []);
  });

  it('lets the running hook end, then starts for the newest pair only', () => {
    const story = new Story(context);
    assert.deepEqual(story.after(stored('a'), stored('b'), stored('c')), []);
    assert.deepEqual(story.on(done), ['run c 0.1']);
    assert.deepEqual(story.after(done, done), ['succeeded 1', 'finished c']);
  });

  it('ends a delay when a newer pair is stored', () => {
    const story = new Story(context);
    story.after(stored('a'), failed);
    assert.deepEqual(story.on(stored('b')), ['stop-waiting', 'run b 0.1']);
    assert.deepEqual(story.on(failed), ['retrying 0.1 in 2', 'wait 2']);
  });
});

describe('hookStep() with a check of the served certificate', () => {
  it('checks after the last hook, waits for a reload, and finishes', () => {
    const story = new Story(reporting);
    assert.deepEqual(story.after(stored('a'), done, done), ['succeeded 1', 'check a']);
    assert.deepEqual(story.on(checked('current')), ['current', 'finished a']);
  });

  it('checks without hooks: some servers reload on their own', () => {
    const story = new Story({ ...reporting, retries: [] });
    assert.deepEqual(story.on(stored('a')), ['check a']);
  });

  it('reports a stale certificate once, and checks again less and less often', () => {
    const story = new Story({ ...reporting, retries: [] });
    story.on(stored('a'));
    assert.deepEqual(story.on(checked('stale')), ['stale', 'wait 30']);
    for (const wait of [60, 120, 240, 480, 900, 900]) {
      assert.deepEqual(story.on(waited), ['check a once']);
      assert.deepEqual(story.on(checked('stale')), [`wait ${wait}`]);
    }
    story.on(waited);
    assert.deepEqual(story.on(checked('current')), ['current again', 'finished a']);
  });

  it('reports a stale certificate again for a newer pair', () => {
    const story = new Story({ ...reporting, retries: [] });
    story.after(stored('a'), checked('stale'));
    assert.deepEqual(story.on(stored('b')), ['stop-waiting', 'check b']);
    assert.deepEqual(story.on(checked('stale')), ['stale', 'wait 30']);
  });

  it('keeps the pair pending while checks fail, and reports it once', () => {
    const story = new Story({ ...reporting, retries: [] });
    story.on(stored('a'));
    assert.deepEqual(story.on(checked('unknown')), ['unchecked', 'wait 30']);
    assert.deepEqual(story.after(waited, checked('unknown')), ['wait 60']);
    assert.equal(story.state.pending, 'a');
  });

  it('ends when another program has stored a pair', () => {
    const story = new Story({ ...rollingBack, retries: [] });
    story.on(stored('a'));
    assert.deepEqual(story.on(checked('replaced')), []);
    assert.equal(story.state.phase.kind, 'idle');
  });

  it('keeps a pair pending whose hook failed, even if it is served', () => {
    const story = new Story({ ...reporting, retries: [0] });
    story.after(stored('a'), failed);
    assert.deepEqual(story.on(checked('current')), ['current']);
    assert.equal(story.state.pending, 'a');
  });
});

describe('hookStep() with rollback', () => {
  it('rolls back once, runs the hooks for the previous pair, and checks again', () => {
    const story = new Story({ ...rollingBack, retries: [0] });
    story.after(stored('b'), done);
    assert.deepEqual(story.on(checked('stale')), ['stale', 'roll-back b']);
    assert.deepEqual(story.on({ type: 'rolled-back', serial: 'a' }), ['run a 0.1']);
    assert.equal(story.state.pending, 'a');
    assert.deepEqual(story.on(done), ['succeeded 0', 'check a']);
    assert.deepEqual(story.on(checked('current')), ['current again', 'finished a']);
  });

  it('does not roll back a pair that it rolled back to, nor does a later run', () => {
    const story = new Story({ ...rollingBack, retries: [] });
    story.after(stored('b'), checked('stale'), { type: 'rolled-back', serial: 'a' });
    assert.deepEqual(story.on(checked('stale')), ['stale', 'wait 30']);
    const next = new Story({ ...rollingBack, retries: [] }, 'a');
    assert.deepEqual(next.after(stored('a'), checked('stale')), ['stale', 'wait 30']);
  });

  it('does not repeat a failed rollback, and keeps checking', () => {
    const story = new Story({ ...rollingBack, retries: [] });
    story.after(stored('b'), checked('stale'));
    assert.deepEqual(story.on({ type: 'not-rolled-back' }), ['wait 30']);
    assert.deepEqual(story.after(waited, checked('stale')), ['wait 60']);
  });

  it('does not roll back while a newer pair is being requested', () => {
    const story = new Story({ ...rollingBack, retries: [] });
    story.on(stored('b'));
    assert.deepEqual(story.on(checked('stale'), { rotationIdle: false }), ['stale', 'wait 30']);
    // The request failed, and the pair is still not served.
    story.on(waited);
    assert.deepEqual(story.on(checked('stale')), ['roll-back b']);
  });

  it('does not roll back unless configured', () => {
    const story = new Story({ ...reporting, retries: [] });
    assert.deepEqual(story.after(stored('b'), checked('stale')), ['stale', 'wait 30']);
  });

  it('continues with a pair that was stored during the rollback', () => {
    const story = new Story({ ...rollingBack, retries: [] });
    story.after(stored('b'), checked('stale'));
    assert.deepEqual(story.on(stored('c')), []);
    assert.deepEqual(story.on({ type: 'not-rolled-back' }), ['check c']);
  });
});

describe('hookStep() with any sequence of pairs and results', () => {
  /** Answers the open effect, or stores a new pair before that. */
  class World {
    readonly story: Story;
    readonly effects: HookEffect[] = [];
    /** The effect without a result yet; never more than one. */
    open: HookEffect | undefined;
    pairs = 0;
    rollbacks = 0;

    constructor(context: HookContext) {
      this.story = new Story(context);
    }

    store(): void {
      this.pairs += 1;
      this.send(stored(`p${this.pairs}`));
    }

    answer(random: number): void {
      const { open } = this;
      if (open === undefined) return;
      this.open = undefined;
      this.send(this.#answerTo(open, random));
    }

    send(event: HookEvent): void {
      const { state, effects } = hookStep(this.story.state, event, this.story.context);
      this.story.state = state;
      for (const effect of effects) this.#take(effect);
    }

    #take(effect: HookEffect): void {
      this.effects.push(effect);
      if (effect.type === 'stop-waiting') {
        assert.equal(this.open?.type, 'wait', 'no wait to stop');
        this.open = undefined;
      }
      if (!['run-hook', 'check', 'roll-back', 'wait'].includes(effect.type)) return;
      assert.equal(this.open, undefined, `${effect.type} beside ${this.open?.type}`);
      this.open = effect;
    }

    #answerTo(open: HookEffect, random: number): HookEvent {
      switch (open.type) {
        case 'run-hook':
          return random < 0.5 ? done : failed;
        case 'check':
          return checked(random < 0.3 ? 'current' : random < 0.8 ? 'stale' : 'unknown');
        case 'roll-back':
          if (random < 0.3) return { type: 'not-rolled-back' };
          this.rollbacks += 1;
          return { type: 'rolled-back', serial: `back ${this.rollbacks} from ${open.serial}` };
        default:
          return waited;
      }
    }
  }

  const contexts: fc.Arbitrary<HookContext> = fc.record(
    {
      retries: fc.array(fc.nat(2), { maxLength: 3 }),
      check: fc.constantFrom('report' as const, 'rollback' as const),
      rotationIdle: fc.boolean(),
      random: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    },
    { requiredKeys: ['retries', 'rotationIdle', 'random'] },
  );
  /** A new pair, or the result of the open effect. */
  const moves = fc.array(
    fc.oneof(
      { weight: 1, arbitrary: fc.constant('store' as const) },
      { weight: 4, arbitrary: fc.double({ min: 0, max: 1, noNaN: true }) },
    ),
    { maxLength: 60 },
  );

  function holds(check: (world: World) => void): void {
    fc.assert(
      fc.property(contexts, moves, (context, moves) => {
        const world = new World(context);
        for (const move of moves) {
          // The store never rolls back while a newer pair is linked.
          if (move === 'store' && world.open?.type === 'roll-back') world.answer(0);
          if (move === 'store') world.store();
          else world.answer(move);
          assert.deepEqual(structuredClone(world.story.state), world.story.state);
        }
        check(world);
      }),
      { numRuns: 1_000 },
    );
  }

  it('has at most one open effect', () => {
    holds(() => undefined);
  });

  it('keeps the order of the hooks and the number of attempts', () => {
    holds(({ effects, story }) => {
      let last = { serial: '', hook: -1, attempt: 0 };
      for (const effect of effects) {
        if (effect.type !== 'run-hook') continue;
        const { serial, hook, attempt } = effect;
        assert.ok(attempt <= 1 + (story.context.retries[hook] ?? 0));
        const again = serial === last.serial && hook === last.hook && attempt === last.attempt + 1;
        const next = serial === last.serial && hook === last.hook + 1 && attempt === 1;
        const fresh = serial !== last.serial && hook === 0 && attempt === 1;
        assert.ok(again || next || fresh, `${nameOf(effect)} after ${JSON.stringify(last)}`);
        last = { serial, hook, attempt };
      }
    });
  });

  it('starts at most once per pair', () => {
    holds(({ effects, pairs, rollbacks }) => {
      const starts = effects.filter((effect) => effect.type === 'run-hook' && effect.hook === 0);
      const first = starts.filter((effect) => effect.type === 'run-hook' && effect.attempt === 1);
      assert.ok(first.length <= pairs + rollbacks);
    });
  });

  it('rolls back only if configured, once per pair, and never twice in a row', () => {
    holds(({ effects, story }) => {
      const from = effects.flatMap((effect) => (effect.type === 'roll-back' ? effect.serial : []));
      assert.equal(new Set(from).size, from.length);
      assert.ok(from.every((serial) => serial.startsWith('p')));
      if (story.context.check !== 'rollback' || !story.context.rotationIdle)
        assert.deepEqual(from, []);
    });
  });

  it('leaves nothing pending if everything works, and ends with the newest pair', () => {
    holds((world) => {
      world.store();
      const newest = `p${world.pairs}`;
      for (let answers = 0; answers < 50 && world.open !== undefined; answers += 1) {
        world.answer(world.open.type === 'roll-back' ? 0 : 0.1);
      }
      const { state, context } = world.story;
      assert.equal(state.phase.kind, 'idle');
      assert.equal(state.pending, undefined);
      assert.deepEqual(state.failing, []);
      assert.equal(state.stale, undefined);
      const last = world.effects.at(-1);
      assert.deepEqual(last, { type: 'finished', serial: newest });
      const tries = world.effects.filter((one) => one.type === 'run-hook' && one.serial === newest);
      assert.equal(tries.length, context.retries.length);
    });
  });

  it('waits at most 23 minutes', () => {
    holds(({ effects }) => {
      for (const effect of effects) {
        if (effect.type === 'wait') assert.ok(effect.ms > 0 && effect.ms <= 23 * minute);
      }
    });
  });
});
