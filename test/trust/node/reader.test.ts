import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hour, minute } from '../../../src/core/instant.ts';
import type { Reader, ReaderFacts } from '../../../src/trust/node/reader.ts';
import { clientReadAt, readerOf } from '../../../src/trust/node/reader.ts';

const start = Date.UTC(2026, 10, 29);
const running = { kind: 'running', instance: 'a', startedAt: start } as const;
const both = { kubeconfig: ['old', 'new'], clientCA: ['old', 'new'] };

/** A kubelet 1.37 with a CA file and without rotation, an hour after its start, with one CA. */
const base: ReaderFacts = {
  kubelet: running,
  version: 'v1.37.2',
  authorities: { kubeconfig: ['old'], clientCA: ['old'] },
  file: '/ca.pem',
  rotates: false,
  kubeconfigModifiedAt: start - hour,
  modifiedAt: start - hour,
  now: start + hour,
};

function at(ms: number, facts: Partial<ReaderFacts>): ReaderFacts {
  return { ...base, ...facts, now: base.now + ms };
}

/** The reader at the change to both CAs, and some time later. */
function afterChange(
  ms: number,
  {
    before,
    after,
  }: { readonly before?: Partial<ReaderFacts>; readonly after?: Partial<ReaderFacts> },
): Reader {
  const known = readerOf(undefined, { ...base, ...before });
  assert.equal(known.state, 'current');
  const change = { ...before, authorities: both, modifiedAt: base.now, ...after };
  const changed = readerOf(known.memory, at(0, change));
  return readerOf(changed.memory, at(ms, change));
}

describe('readerOf()', () => {
  it('trusts that a kubelet has read files from before its start', () => {
    assert.equal(readerOf(undefined, { ...base, authorities: both }).state, 'current');
  });

  it('is pending for several CAs from after the start, and for one CA current', () => {
    const modifiedAt = start + minute;
    const found = readerOf(undefined, { ...base, authorities: both, modifiedAt, rotates: true });
    assert.deepEqual([found.state, found.since], ['pending', modifiedAt]);
    assert.equal(readerOf(undefined, { ...base, modifiedAt }).state, 'current');
  });

  it('is current six minutes after a change of a CA file', () => {
    const early = afterChange(6 * minute - 1, {});
    assert.deepEqual([early.state, early.readAt], ['pending', base.now + 6 * minute]);
    assert.equal(afterChange(6 * minute, {}).state, 'current');
  });

  for (const [what, before] of [
    ['with embedded CAs', { file: undefined }],
    ['that rotates its certificate', { rotates: true }],
    ['1.35', { version: 'v1.35.9' }],
    ['of an unknown version', { version: undefined }],
  ] as const) {
    it(`stays pending for a kubelet ${what} until its restart`, () => {
      const late = afterChange(24 * hour, { before });
      assert.deepEqual([late.state, late.since, late.readAt], ['pending', base.now, undefined]);
      assert.deepEqual(late.unread, ['new']);
      const again = { ...running, instance: 'b', startedAt: base.now + hour };
      const restarted = { ...before, kubelet: again, authorities: both, modifiedAt: base.now };
      assert.equal(readerOf(late.memory, at(2 * hour, restarted)).state, 'current');
    });
  }

  it('knows the CA file of a kubelet that started before the file changed', () => {
    const modifiedAt = start + minute;
    const found = readerOf(undefined, { ...base, authorities: both, modifiedAt, now: modifiedAt });
    assert.deepEqual([found.state, found.readAt], ['pending', modifiedAt + 6 * minute]);
  });

  it('stays pending for a kubelet that was restarted before the change', () => {
    const again = { ...running, instance: 'b', startedAt: base.now - 1 };
    const before = { rotates: true };
    assert.equal(afterChange(0, { before, after: { kubelet: again } }).state, 'pending');
  });

  it('stays pending after a change from embedded CAs to a file without a restart', () => {
    const moved = afterChange(24 * hour, {
      before: { file: undefined },
      after: { file: '/ca.pem', kubeconfigModifiedAt: base.now },
    });
    assert.equal(moved.state, 'pending');
  });

  it('needs a restart before 1.36 for a change of clientCAFile alone', () => {
    const authorities = { ...base.authorities, clientCA: both.clientCA };
    const before = { version: 'v1.35.0' };
    assert.equal(afterChange(24 * hour, { before, after: { authorities } }).state, 'pending');
    assert.equal(afterChange(6 * minute, { after: { authorities } }).state, 'current');
  });

  it('does not need a restart after a CA was removed', () => {
    const held = readerOf(undefined, { ...base, authorities: both, rotates: true });
    const dropped = readerOf(held.memory, at(0, { rotates: true, modifiedAt: base.now }));
    assert.equal(dropped.state, 'current');
  });

  it('is pending for a restored CA unless the kubelet reads its files only once', () => {
    const authorities = { ...base.authorities, kubeconfig: both.kubeconfig };
    const states = [false, true].map((rotates) => {
      const held = readerOf(undefined, { ...base, authorities, rotates });
      const dropped = readerOf(held.memory, at(0, { rotates, modifiedAt: base.now }));
      const restored = { authorities, rotates, modifiedAt: base.now };
      return readerOf(dropped.memory, at(minute, restored)).state;
    });
    assert.deepEqual(states, ['pending', 'current']);
  });

  it('keeps the time of the change within the present after the clock was set back', () => {
    const changed = afterChange(0, { before: { rotates: true } });
    const back = at(-30 * minute, { rotates: true, authorities: both, modifiedAt: base.now });
    const found = readerOf(changed.memory, back);
    assert.deepEqual([found.state, found.since], ['pending', back.now]);
  });

  it('is current for a stopped kubelet, and unknown without a visible one', () => {
    const stopped = readerOf(undefined, { ...base, kubelet: { kind: 'stopped' } });
    assert.deepEqual(stopped, { state: 'current' });
    const unknown = readerOf(undefined, { ...base, kubelet: { kind: 'unknown' } });
    assert.deepEqual(unknown, { state: 'unknown' });
  });
});

describe('clientReadAt()', () => {
  const storedAt = start + minute;
  const later = storedAt + 6 * minute;
  for (const [what, facts, expected] of [
    ['is six minutes after the certificate was stored', {}, later],
    ['is the same for a kubelet with an unknown start', { kubelet: { kind: 'unknown' } }, later],
    [
      'is undefined for a kubelet that has started since',
      { kubelet: { ...running, startedAt: storedAt + 1 } },
      undefined,
    ],
    ['is undefined for a kubelet that does not run', { kubelet: { kind: 'stopped' } }, undefined],
    ['is undefined for a kubelet that rotates its certificate', { rotates: true }, undefined],
  ] as const) {
    it(what, () => {
      assert.equal(clientReadAt(storedAt, { ...base, ...facts }), expected);
    });
  }
});
