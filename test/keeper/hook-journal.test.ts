import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { HookRecords } from '../../src/keeper/hook-journal.ts';
import { HookJournal } from '../../src/keeper/hook-journal.ts';
import { hour } from '../../src/core/instant.ts';
import { start } from '../core/fixtures.ts';

function journalOf(records: HookRecords = {}): {
  readonly journal: HookJournal;
  readonly saved: HookRecords[];
} {
  const saved: HookRecords[] = [];
  return { saved, journal: new HookJournal(records, (now) => saved.push(now)) };
}

const step = { from: 'b', to: 'a', until: start + hour };

describe('HookJournal', () => {
  it('owe() saves what is owed, and settle() that it is done, for this pair only', () => {
    const { journal, saved } = journalOf();
    journal.owe('server', 'a');
    journal.owe('client', 'x');
    journal.settle('server', 'b');
    assert.equal(journal.owed('server'), 'a');
    journal.settle('server', 'a');
    assert.equal(journal.owed('server'), undefined);
    assert.deepEqual(saved.at(-1), { server: {}, client: { owed: 'x' } });
  });

  it('knows what an earlier run has left', () => {
    const wentBack = { ...step, count: 2 };
    const { journal, saved } = journalOf({ server: { owed: 'a', wentBack } });
    assert.equal(journal.owed('server'), 'a');
    assert.deepEqual(journal.wentBack('server'), wentBack);
    assert.equal(journal.owed('client'), undefined);
    assert.deepEqual(saved, []);
  });

  it('goBack() counts how often in a row, and owes the hooks of the pair that is in place again', () => {
    const { journal, saved } = journalOf();
    assert.equal(journal.nextCount('server'), 1);
    journal.goBack('server', step);
    journal.owe('server', 'c');
    journal.settle('server', 'c');
    assert.equal(journal.nextCount('server'), 2);
    journal.goBack('server', { ...step, from: 'c' });
    assert.deepEqual(saved.at(-1), {
      server: { owed: 'a', wentBack: { ...step, from: 'c', count: 2 } },
    });
  });

  it('served() ends the row with a new pair that is served, not with the old one', () => {
    const { journal } = journalOf();
    journal.goBack('server', step);
    journal.served('server', 'a');
    assert.equal(journal.nextCount('server'), 2);
    journal.served('server', 'c');
    assert.equal(journal.wentBack('server'), undefined);
    assert.equal(journal.nextCount('server'), 1);
    assert.equal(journal.owed('server'), 'a');
  });
});
