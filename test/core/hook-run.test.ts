import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { HookContext, HookEffect, HookEvent, HookState } from '../../src/core/hook-run.ts';
import { hookStep, initialHookState } from '../../src/core/hook-run.ts';
import { minute, second } from '../../src/core/instant.ts';

const context: HookContext = { retries: [1, 0], atRest: true, random: 0.5 };
const reporting: HookContext = { ...context, check: 'report' };
const rollingBack: HookContext = { ...context, check: 'rollback' };

const stored = (serial: string): HookEvent => ({ type: 'stored', serial });
const done: HookEvent = { type: 'tried' };
const failed: HookEvent = { type: 'tried', code: 'HOOK_FAILED' };
const waited: HookEvent = { type: 'waited' };
const checked = (verdict: Extract<HookEvent, { type: 'checked' }>['verdict']): HookEvent => ({
  type: 'checked',
  verdict,
});

/** `try a 1.2`: the second try of the hook at position 1, for pair a. */
function nameOf(effect: HookEffect): string {
  switch (effect.type) {
    case 'try':
      return `try ${effect.serial} ${effect.hook}.${effect.attempt}`;
    case 'gave-up':
      return `gave-up ${effect.hook}.${effect.attempt}`;
    case 'retrying':
      return `retrying ${effect.hook}.${effect.attempt} in ${effect.ms / second}`;
    case 'succeeded':
      return `succeeded ${effect.hook}${effect.recovered ? ' again' : ''}`;
    case 'wait':
      return `wait ${effect.ms / second}`;
    case 'check':
      return `check ${effect.serial}${effect.patient ? '' : ' once'}`;
    case 'current':
      return effect.recovered ? 'current again' : 'current';
    case 'roll-back':
    case 'settled':
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

  constructor(context: HookContext, stays?: string) {
    this.context = context;
    this.state = initialHookState(stays);
  }

  on(event: HookEvent, changes: Partial<HookContext> = {}): string[] {
    const { state, effects } = hookStep(this.state, event, { ...this.context, ...changes });
    this.state = state;
    return effects.map(nameOf);
  }

  /** What the last of several events leads to. */
  after(...events: readonly HookEvent[]): string[] {
    return events.map((event) => this.on(event)).at(-1) ?? [];
  }
}

describe('hookStep() on hooks', () => {
  it('runs one after the other, and is done', () => {
    const story = new Story(context);
    assert.deepEqual(story.on(stored('a')), ['try a 0.1']);
    assert.equal(story.state.owed, 'a');
    assert.deepEqual(story.on(done), ['succeeded 0', 'try a 1.1']);
    assert.deepEqual(story.on(done), ['succeeded 1', 'settled a']);
    assert.equal(story.state.owed, undefined);
  });

  it('is done at once where there is nothing to do', () => {
    const story = new Story({ ...context, retries: [] });
    assert.deepEqual(story.on(stored('a')), ['settled a']);
  });

  it('tries again after a pause that grows, as often as is configured', () => {
    const story = new Story({ ...context, retries: [3] });
    story.on(stored('a'));
    const pauses = [2, 4, 8].map((seconds, index) => {
      assert.deepEqual(story.on(failed), [
        `retrying 0.${index + 1} in ${seconds}`,
        `wait ${seconds}`,
      ]);
      return story.on(waited);
    });
    assert.deepEqual(pauses, [['try a 0.2'], ['try a 0.3'], ['try a 0.4']]);
    assert.deepEqual(story.on(failed), ['gave-up 0.4']);
  });

  it('goes on with the next one after one that failed, and owes it to the next start', () => {
    const story = new Story({ ...context, retries: [0, 0] });
    assert.deepEqual(story.after(stored('a'), failed), ['gave-up 0.1', 'try a 1.1']);
    assert.deepEqual(story.on(done), ['succeeded 1']);
    assert.equal(story.state.owed, 'a');
    assert.deepEqual(story.state.failing, [0]);
  });

  it('spares itself further tries that would be no use', () => {
    const story = new Story({ ...context, retries: [3] });
    story.on(stored('a'));
    const effects = story.on({ type: 'tried', code: 'HOOK_FAILED', final: true });
    assert.deepEqual(effects, ['gave-up 0.1']);
  });

  it('says when one works again that had failed', () => {
    const story = new Story({ ...context, retries: [0] });
    story.after(stored('a'), failed);
    assert.deepEqual(story.after(stored('b'), done), ['succeeded 0 again', 'settled b']);
    assert.deepEqual(story.after(stored('c'), done), ['succeeded 0', 'settled c']);
  });

  it('runs nothing twice for one pair', () => {
    const story = new Story(context);
    assert.deepEqual(story.after(stored('a'), stored('a')), []);
    story.after(done, done);
    assert.deepEqual(story.on(stored('a')), []);
  });

  it('ends the try under way before a newer pair, of which only the newest counts', () => {
    const story = new Story(context);
    assert.deepEqual(story.after(stored('a'), stored('b'), stored('c')), []);
    assert.deepEqual(story.on(done), ['try c 0.1']);
    assert.deepEqual(story.after(done, done), ['succeeded 1', 'settled c']);
  });

  it('does not wait out a pause for a newer pair', () => {
    const story = new Story(context);
    story.after(stored('a'), failed);
    assert.deepEqual(story.on(stored('b')), ['stop-waiting', 'try b 0.1']);
    assert.deepEqual(story.on(failed), ['retrying 0.1 in 2', 'wait 2']);
  });
});

describe('hookStep() on what is served', () => {
  it('looks after the last hook, with patience, and is done when it is current', () => {
    const story = new Story(reporting);
    assert.deepEqual(story.after(stored('a'), done, done), ['succeeded 1', 'check a']);
    assert.deepEqual(story.on(checked('current')), ['current', 'settled a']);
  });

  it('looks without any hook: there are servers that look by themselves', () => {
    const story = new Story({ ...reporting, retries: [] });
    assert.deepEqual(story.on(stored('a')), ['check a']);
  });

  it('says once that another one is served, looks again less and less often, and says the end', () => {
    const story = new Story({ ...reporting, retries: [] });
    story.on(stored('a'));
    assert.deepEqual(story.on(checked('stale')), ['stale', 'wait 30']);
    for (const wait of [60, 120, 240, 480, 900, 900]) {
      assert.deepEqual(story.on(waited), ['check a once']);
      assert.deepEqual(story.on(checked('stale')), [`wait ${wait}`]);
    }
    story.on(waited);
    assert.deepEqual(story.on(checked('current')), ['current again', 'settled a']);
  });

  it('says it again of a newer pair', () => {
    const story = new Story({ ...reporting, retries: [] });
    story.after(stored('a'), checked('stale'));
    assert.deepEqual(story.on(stored('b')), ['stop-waiting', 'check b']);
    assert.deepEqual(story.on(checked('stale')), ['stale', 'wait 30']);
  });

  it('keeps what it owes while it is not known, and says once that nobody could look', () => {
    const story = new Story({ ...reporting, retries: [] });
    story.on(stored('a'));
    assert.deepEqual(story.on(checked('unknown')), ['unchecked', 'wait 30']);
    assert.deepEqual(story.after(waited, checked('unknown')), ['wait 60']);
    assert.equal(story.state.owed, 'a');
  });

  it("leaves somebody else's pair alone", () => {
    const story = new Story({ ...rollingBack, retries: [] });
    story.on(stored('a'));
    assert.deepEqual(story.on(checked('overtaken')), []);
    assert.equal(story.state.phase.kind, 'idle');
  });

  it('owes a hook that failed even if the server has taken the pair over', () => {
    const story = new Story({ ...reporting, retries: [0] });
    story.after(stored('a'), failed);
    assert.deepEqual(story.on(checked('current')), ['current']);
    assert.equal(story.state.owed, 'a');
  });
});

describe('hookStep() on the way back', () => {
  it('goes back once, runs everything again for the old pair, and looks again', () => {
    const story = new Story({ ...rollingBack, retries: [0] });
    story.after(stored('b'), done);
    assert.deepEqual(story.on(checked('stale')), ['stale', 'roll-back b']);
    assert.deepEqual(story.on({ type: 'rolled-back', serial: 'a' }), ['try a 0.1']);
    assert.equal(story.state.owed, 'a');
    assert.deepEqual(story.on(done), ['succeeded 0', 'check a']);
    assert.deepEqual(story.on(checked('current')), ['current again', 'settled a']);
  });

  it('does not go back from where it has gone back to, in a later run neither', () => {
    const story = new Story({ ...rollingBack, retries: [] });
    story.after(stored('b'), checked('stale'), { type: 'rolled-back', serial: 'a' });
    assert.deepEqual(story.on(checked('stale')), ['stale', 'wait 30']);
    const next = new Story({ ...rollingBack, retries: [] }, 'a');
    assert.deepEqual(next.after(stored('a'), checked('stale')), ['stale', 'wait 30']);
  });

  it('does not try again where there was no way back, and goes on looking', () => {
    const story = new Story({ ...rollingBack, retries: [] });
    story.after(stored('b'), checked('stale'));
    assert.deepEqual(story.on({ type: 'not-rolled-back' }), ['wait 30']);
    assert.deepEqual(story.after(waited, checked('stale')), ['wait 60']);
  });

  it('does not go back while a newer pair is on its way', () => {
    const story = new Story({ ...rollingBack, retries: [] });
    story.on(stored('b'));
    assert.deepEqual(story.on(checked('stale'), { atRest: false }), ['stale', 'wait 30']);
    // It failed, and the old one is not served still.
    story.on(waited);
    assert.deepEqual(story.on(checked('stale')), ['roll-back b']);
  });

  it('does not go back where that was not asked for', () => {
    const story = new Story({ ...reporting, retries: [] });
    assert.deepEqual(story.after(stored('b'), checked('stale')), ['stale', 'wait 30']);
  });

  it('goes on with a pair that was stored meanwhile', () => {
    const story = new Story({ ...rollingBack, retries: [] });
    story.after(stored('b'), checked('stale'));
    assert.deepEqual(story.on(stored('c')), []);
    assert.deepEqual(story.on({ type: 'not-rolled-back' }), ['check c']);
  });
});

describe('hookStep(), for any sequence of pairs and answers', () => {
  /** Answers what was asked for, or has a new pair come before it is answered. */
  class World {
    readonly story: Story;
    readonly effects: HookEffect[] = [];
    /** What is under way, or waited for: one thing at most. */
    open: HookEffect | undefined;
    pairs = 0;
    goneBack = 0;

    constructor(context: HookContext) {
      this.story = new Story(context);
    }

    store(): void {
      this.pairs += 1;
      this.tell(stored(`p${this.pairs}`));
    }

    answer(random: number): void {
      const { open } = this;
      if (open === undefined) return;
      this.open = undefined;
      this.tell(this.#answerTo(open, random));
    }

    tell(event: HookEvent): void {
      const { state, effects } = hookStep(this.story.state, event, this.story.context);
      this.story.state = state;
      for (const effect of effects) this.#take(effect);
    }

    #take(effect: HookEffect): void {
      this.effects.push(effect);
      if (effect.type === 'stop-waiting') {
        assert.equal(this.open?.type, 'wait', 'nothing was waited for');
        this.open = undefined;
      }
      if (!['try', 'check', 'roll-back', 'wait'].includes(effect.type)) return;
      assert.equal(this.open, undefined, `${effect.type} beside ${this.open?.type}`);
      this.open = effect;
    }

    #answerTo(open: HookEffect, random: number): HookEvent {
      switch (open.type) {
        case 'try':
          return random < 0.5 ? done : failed;
        case 'check':
          return checked(random < 0.3 ? 'current' : random < 0.8 ? 'stale' : 'unknown');
        case 'roll-back':
          if (random < 0.3) return { type: 'not-rolled-back' };
          this.goneBack += 1;
          return { type: 'rolled-back', serial: `back ${this.goneBack} from ${open.serial}` };
        default:
          return waited;
      }
    }
  }

  const contexts: fc.Arbitrary<HookContext> = fc.record(
    {
      retries: fc.array(fc.nat(2), { maxLength: 3 }),
      check: fc.constantFrom('report' as const, 'rollback' as const),
      atRest: fc.boolean(),
      random: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    },
    { requiredKeys: ['retries', 'atRest', 'random'] },
  );
  /** A new pair, or how what is open is answered. */
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
          // The store refuses to go back under a newer pair: it is never told of one then.
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

  it('does one thing at a time', () => {
    holds(() => undefined);
  });

  it('keeps the order of the hooks and the number of their tries', () => {
    holds(({ effects, story }) => {
      let last = { serial: '', hook: -1, attempt: 0 };
      for (const effect of effects) {
        if (effect.type !== 'try') continue;
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

  it('begins anew at most once for each pair: nothing piles up', () => {
    holds(({ effects, pairs, goneBack }) => {
      const begun = effects.filter((effect) => effect.type === 'try' && effect.hook === 0);
      const first = begun.filter((effect) => effect.type === 'try' && effect.attempt === 1);
      assert.ok(first.length <= pairs + goneBack);
    });
  });

  it('goes back only where that is asked for, from each pair once, and never from one gone back to', () => {
    holds(({ effects, story }) => {
      const from = effects.flatMap((effect) => (effect.type === 'roll-back' ? effect.serial : []));
      assert.equal(new Set(from).size, from.length);
      assert.ok(from.every((serial) => serial.startsWith('p')));
      if (story.context.check !== 'rollback' || !story.context.atRest) assert.deepEqual(from, []);
    });
  });

  it('owes nothing in the end, when everything works, and has done it all for the newest', () => {
    holds((world) => {
      world.store();
      const newest = `p${world.pairs}`;
      for (let answers = 0; answers < 50 && world.open !== undefined; answers += 1) {
        world.answer(world.open.type === 'roll-back' ? 0 : 0.1);
      }
      const { state, context } = world.story;
      assert.equal(state.phase.kind, 'idle');
      assert.equal(state.owed, undefined);
      assert.deepEqual(state.failing, []);
      assert.equal(state.stale, undefined);
      const last = world.effects.at(-1);
      assert.deepEqual(last, { type: 'settled', serial: newest });
      const tries = world.effects.filter((one) => one.type === 'try' && one.serial === newest);
      assert.equal(tries.length, context.retries.length);
    });
  });

  it('waits for a moment that comes, a quarter of an hour and half as much again at most', () => {
    holds(({ effects }) => {
      for (const effect of effects) {
        if (effect.type === 'wait') assert.ok(effect.ms > 0 && effect.ms <= 23 * minute);
      }
    });
  });
});
