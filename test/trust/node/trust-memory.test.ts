import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { day, hour, minute } from '../../../src/core/instant.ts';
import type { TrustMemory } from '../../../src/trust/node/trust-memory.ts';
import {
  emptyTrustMemory,
  readTrustMemory,
  withReading,
  writeTrustMemory,
} from '../../../src/trust/node/trust-memory.ts';
import { temporaryDirectory } from '../../store/pairs.ts';

const now = Date.UTC(2026, 10, 29);
const [old, other] = ['a'.repeat(64), 'b'.repeat(64)];

describe('withReading()', () => {
  const begun = withReading(emptyTrustMemory, [old], now);

  it('counts from the first reading that lacks a CA', () => {
    const later = withReading(begun, [old, other], now + 10 * minute);
    assert.deepEqual(later.missingSince, { [old]: now, [other]: now + 10 * minute });
    assert.equal(later.readAt, now + 10 * minute);
  });

  it('begins again after a reading that has the CA', () => {
    const back = withReading(begun, [], now + minute);
    assert.deepEqual(back.missingSince, {});
    assert.deepEqual(withReading(back, [old], now + hour).missingSince, { [old]: now + hour });
  });

  for (const [what, time] of [
    ['more than an hour without a reading', now + hour + 1],
    ['20 years by a wrong clock', now + 20 * 365 * day],
    ['a clock that was set back to 1970', 1_000],
  ] as const) {
    it(`begins again after ${what}`, () => {
      assert.deepEqual(withReading(begun, [old], time).missingSince, { [old]: time });
    });
  }
});

describe('readTrustMemory()', () => {
  it('returns what writeTrustMemory() has written', async (context) => {
    const directory = join(await temporaryDirectory(context), 'trust');
    const memory: TrustMemory = {
      readAt: now,
      missingSince: { [old]: now - day },
      changedAt: now - hour,
      reader: {
        instance: '7:2500',
        read: { kubeconfig: [old], clientCA: [] },
        file: '/etc/kubernetes/ca.pem',
        rotates: true,
        changedAt: now,
      },
      rolledBack: { by: 'kubelet', at: now, authorities: [old, other], count: 2 },
    };
    await writeTrustMemory(directory, memory);
    assert.deepEqual(await readTrustMemory(directory), memory);
    assert.match(await readFile(join(directory, 'state.json'), 'utf8'), /2026-11-29T00:00:00Z/);
  });

  for (const text of [undefined, '', '{', '[]', '{"readAt": 7}', '{"missingSince": {"a": 1}}']) {
    it(`is empty for ${text === undefined ? 'no file' : JSON.stringify(text)}`, async (context) => {
      const directory = await temporaryDirectory(context);
      await mkdir(directory, { recursive: true });
      if (text !== undefined) await writeFile(join(directory, 'state.json'), text);
      assert.deepEqual(await readTrustMemory(directory), emptyTrustMemory);
    });
  }
});
