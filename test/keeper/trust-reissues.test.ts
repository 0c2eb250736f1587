import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PairFacts } from '../../src/core/certificate.ts';
import type { TrustConfig } from '../../src/core/config.ts';
import { hour, minute } from '../../src/core/instant.ts';
import type { BehindTimes } from '../../src/keeper/trust-reissues.ts';
import { TrustReissues } from '../../src/keeper/trust-reissues.ts';
import { clientTemplate, pairFor, servingSpec, servingTemplate, start } from '../core/fixtures.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { clientSpec, RecordingLogger } from './fixtures.ts';
import { trustDefaults } from '../support/trust-defaults.ts';
import { clientLeaf } from './trust-documents.ts';

const client = pairFor(clientTemplate, { serial: 'a' });
const server = pairFor(servingTemplate, { serial: 's' });
const pairs = new Map([
  ['kubelet-client', client],
  ['kubelet-server', server],
]);
const behind = [
  { ...clientLeaf, isBehind: true },
  { ...clientLeaf, name: 'kubelet-server', isBehind: true },
];

/** The re-issue of a node. Time begins an hour after its certificates were issued. */
class Story {
  readonly clock = new FakeClock(start + hour);
  readonly logger = new RecordingLogger();
  saved: BehindTimes;
  readonly reissues: TrustReissues;

  constructor(saved: BehindTimes = {}) {
    this.saved = saved;
    this.reissues = new TrustReissues({
      clock: this.clock,
      logger: this.logger,
      behindSince: saved,
      save: (times) => {
        this.saved = times;
      },
    });
  }

  configure(changes: Partial<TrustConfig> = {}): this {
    const certificates = [clientSpec, servingSpec];
    const trust = { ...trustDefaults, ...changes };
    this.reissues.apply({ trust, nodeName: 'worker-1', certificates });
    return this;
  }

  due(pair: PairFacts = client): boolean {
    return this.reissues.isDue('kubelet-client', pair);
  }

  get kinds(): string[] {
    return this.reissues.status(pairs).map(({ kind }) => kind);
  }
}

describe('TrustReissues', () => {
  it('spreads the first requests, the same at each start', async () => {
    const story = new Story().configure();
    story.reissues.reported(behind, pairs);
    const first = story.reissues.status(pairs);
    const times = first.map((one) => (one.kind === 'held' ? NaN : one.at));
    assert.notEqual(times[0], times[1]);
    for (const time of times) assert.ok(time >= start + hour && time < start + 2 * hour);
    assert.equal(story.due(), false);

    const second = new Story(story.saved).configure();
    await second.clock.advance(10 * minute);
    assert.equal(second.due(), false, 'before the first report of this run');
    second.reissues.reported(behind, pairs);
    assert.deepEqual(second.reissues.status(pairs), first);
    await second.clock.advance(50 * minute);
    assert.equal(second.due(), true);
  });

  it('is not due for a pair that the last report does not know', async () => {
    const story = new Story().configure({ reissueSpreadSeconds: 0 });
    story.reissues.reported(behind, pairs);
    assert.equal(story.due(), true);
    assert.equal(story.due(pairFor(clientTemplate, { serial: 'b' })), false);
  });

  it('waits for a signer that uses the old CA again', async () => {
    const story = new Story().configure({ reissueSpreadSeconds: 0 });
    story.reissues.reported(behind, pairs);
    await story.clock.advance(minute);
    const again = pairFor(clientTemplate, { serial: 'b', storedAt: story.clock.now() });
    const next = new Map([['kubelet-client', again]]);
    story.reissues.reported(behind, next);
    const [reissue] = story.reissues.status(next);
    assert.equal(reissue?.kind, 'waiting-for-signer');
    assert.equal(story.due(again), false);
    await story.clock.advance(hour + minute);
    assert.equal(story.due(again), true);
    assert.deepEqual(story.logger.all('waiting_for_signer'), [
      {
        event: 'waiting_for_signer',
        certificate: 'kubelet-client',
        retryAt: '2026-01-01T02:02:00Z',
      },
    ]);
  });

  it('requests five certificates in a day at most while the signer uses the old CA', () => {
    const story = new Story().configure();
    const stored: number[] = [];
    let pair = client;
    for (let passed = 0; passed < 24 * hour; passed += minute) {
      story.reissues.reported(behind, new Map([['kubelet-client', pair]]));
      if (story.due(pair)) {
        stored.push(passed);
        pair = pairFor(clientTemplate, { serial: `${passed}`, storedAt: story.clock.now() });
      }
      story.clock.jump(minute);
    }
    assert.equal(stored.length, 5);
    const pauses = stored
      .slice(1)
      .map((at, index) => Math.floor((at - (stored[index] ?? 0)) / hour));
    assert.deepEqual(pauses, [1, 2, 4, 8]);
  });

  it('ends with the first report that no longer calls it behind', () => {
    const story = new Story().configure();
    story.reissues.reported(behind, pairs);
    assert.deepEqual(story.saved, {
      'kubelet-client': start + hour,
      'kubelet-server': start + hour,
    });
    story.reissues.reported([clientLeaf], pairs);
    assert.deepEqual([story.saved, story.kinds], [{}, []]);
    assert.deepEqual(story.logger.take(), [
      'issuer_behind',
      'issuer_behind',
      'issuer_behind_over',
      'issuer_behind_over',
    ]);
    story.reissues.reported([clientLeaf], pairs);
    assert.deepEqual(story.logger.take(), []);
  });

  it('holds the serving certificate, and nothing without a configuration', async () => {
    const story = new Story().configure({ holdServing: true, reissueSpreadSeconds: 0 });
    story.reissues.reported(behind, pairs);
    assert.deepEqual(story.kinds, ['scheduled', 'held']);
    await story.clock.advance(24 * hour);
    assert.equal(story.reissues.isDue('kubelet-server', server), false);
    story.configure({ reissueSpreadSeconds: 0 });
    assert.equal(story.reissues.isDue('kubelet-server', server), true);
    story.reissues.apply(undefined);
    // A run that began before.
    story.reissues.reported(behind, pairs);
    assert.deepEqual([story.due(), story.kinds, story.saved], [false, [], {}]);
  });
});
