import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PairFacts } from '../../src/core/certificate.ts';
import { hour, minute, second } from '../../src/core/instant.ts';
import { pairFor, servingSpec, servingTemplate } from '../core/fixtures.ts';
import type { Reported } from './story.ts';
import { clientPair, denied, lostFailure, Story, unreachable } from './story.ts';

const changed = { ...servingTemplate, ipAddresses: ['10.0.0.2'] };
const csr = { name: 'csr-1', uid: 'u', createdAt: 0 };
/** The pair for the first template. */
const late = pairFor(servingTemplate, { serial: '2', notAfter: pairFor(servingTemplate).notAfter });

/** Late replies to the first attempt that do not affect the second. */
const crossing: readonly Reported[] = [
  { type: 'requested', csr },
  { type: 'approved', csr },
  { type: 'issued', csr },
  { type: 'retrying', failure: unreachable },
  { type: 'failed', failure: denied, resumable: false },
  { type: 'failed', failure: unreachable, resumable: true },
];

/** The first request is abandoned for another template, and the second is in progress. */
async function replaced(): Promise<Story> {
  const story = new Story(servingSpec);
  story.report({ type: 'inspected', findings: [] });
  story.requested();
  story.rotator.setTemplate(changed);
  await story.pass(15 * second);
  assert.deepEqual(story.link.take(), ['inspect', 'enroll', 'abandon', 'enroll']);
  return story;
}

/** The request is abandoned without a new one. */
async function abandoned(): Promise<Story> {
  const story = new Story();
  story.report({ type: 'inspected', findings: [] });
  story.requested();
  story.fail({ code: 'STORE_FULL', message: 'full' }, true);
  // Another program has stored a pair, so no certificate is due when the delay ends.
  story.report({ type: 'inspected', pair: clientPair(), findings: [] });
  await story.pass(minute);
  assert.deepEqual(story.link.take(), ['inspect', 'enroll', 'abandon']);
  return story;
}

describe('Rotator after an abandoned attempt', () => {
  for (const report of crossing) {
    const what = report.type === 'failed' && report.resumable ? 'a resumable failure' : report.type;
    it(`ignores a late ${what} for the new request`, async () => {
      const story = await replaced();
      const before = story.rotator.status();
      story.logger.take();
      story.report({ ...report, attempt: 1 });
      assert.deepEqual(story.rotator.status(), before);
      assert.deepEqual(story.link.take(), []);
      assert.deepEqual(story.logger.lines, []);
      assert.deepEqual(story.observer.failures, []);
      story.requested('csr-2');
      assert.equal(story.rotator.status().csr?.name, 'csr-2');
    });

    it(`starts nothing after a late ${what}`, async () => {
      const story = await abandoned();
      story.report({ ...report, attempt: 1 });
      assert.equal(story.rotator.status().state, 'valid');
      await story.pass(minute);
      assert.deepEqual(story.link.take(), []);
    });
  }

  it('counts a CSR that was created after the attempt was abandoned', async () => {
    const story = new Story(servingSpec);
    story.report({ type: 'inspected', findings: [] });
    story.rotator.setTemplate(changed);
    await story.pass(15 * second);
    story.report({ type: 'requested', csr, attempt: 1 });
    assert.deepEqual(story.open, ['csr-1']);
    assert.deepEqual(story.observer.requested, ['kubelet-server']);
    assert.equal(story.logger.all('csr_created').length, 1);
    assert.equal(story.rotator.status().state, 'requesting');
    assert.equal(story.rotator.status().csr, undefined);
  });

  const stories: readonly (readonly [string, () => Promise<Story>, PairFacts, string])[] = [
    ['during the second request', replaced, late, 'requesting'],
    [
      'with nothing in its place',
      abandoned,
      clientPair({ serial: '2', notAfter: clientPair().notAfter + hour }),
      'valid',
    ],
  ];
  for (const [when, open, pair, state] of stories) {
    it(`inspects a pair that was stored anyway, ${when}`, async () => {
      const story = await open();
      story.logger.take();
      story.report({ type: 'stored', pair, findings: [], attempt: 1 });
      assert.deepEqual(story.link.take(), ['inspect']);
      assert.deepEqual(story.logger.take(), ['certificate_stored']);
      // It does not count as a requested rotation, and ends none.
      assert.deepEqual(story.observer.stored, []);
      story.report({ type: 'inspected', pair, findings: [] });
      assert.equal(story.rotator.status().current?.serial, '2');
      assert.equal(story.rotator.status().state, state);
      assert.equal(story.rotator.status().rotations, 0);
      assert.deepEqual(story.logger.all('pair_changed'), []);
      story.rotator.filesChanged();
      story.report({ type: 'inspected', findings: [] });
      assert.equal(story.logger.all('pair_changed').length, 1);
    });
  }

  it('counts attempts across a lost enroller', async () => {
    const story = new Story();
    story.toPending();
    story.link.lose(lostFailure);
    story.report({ type: 'failed', failure: denied, resumable: false, attempt: 1 });
    assert.equal(story.rotator.status().lastFailure?.code, 'ENROLLER_LOST');
    await story.pass(6 * second);
    assert.equal(story.link.attempt, 2);
  });

  it('measures the time from the first of two attempts', async () => {
    const story = new Story();
    story.toPending();
    await story.pass(second);
    story.fail({ code: 'STORE_FULL', message: 'full' }, true);
    await story.pass(3 * second);
    assert.equal(story.link.attempt, 2);
    story.report({ type: 'stored', pair: clientPair(), findings: [] });
    assert.equal(story.observer.stored[0]?.seconds, 4);
  });
});
