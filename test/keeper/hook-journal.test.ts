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

const rollback = { from: 'b', to: 'a', until: start + hour };

describe('HookJournal', () => {
  it('addPending() and clearPending() save the pending pair of a certificate', () => {
    const { journal, saved } = journalOf();
    journal.addPending('server', { serial: 'a' });
    journal.addPending('client', { serial: 'x' });
    journal.clearPending('server', 'b');
    assert.equal(journal.pending('server'), 'a');
    journal.clearPending('server', 'a');
    assert.equal(journal.pending('server'), undefined);
    assert.deepEqual(saved.at(-1), { server: {}, client: { hooksPending: 'x' } });
  });

  it('renewed() are the certificates of a renewal until its hooks have succeeded', () => {
    const { journal, saved } = journalOf();
    journal.addPending('/pki', { serial: 'a', renewed: ['apiserver', 'etcd-peer'] });
    journal.addRollback('server', rollback);
    assert.deepEqual(journal.renewed('/pki'), ['apiserver', 'etcd-peer']);
    const again = journalOf(saved.at(-1)).journal;
    assert.deepEqual(again.renewed('/pki'), ['apiserver', 'etcd-peer']);
    again.clearPending('/pki', 'a');
    assert.deepEqual(again.renewed('/pki'), []);
    assert.deepEqual(again.renewed('server'), []);
  });

  it('reported() are the latest serials of certificates, also after their hooks', () => {
    const { journal, saved } = journalOf();
    assert.deepEqual(journal.reported('/pki'), []);
    journal.addReported('/pki', [
      { name: 'apiserver', serial: 'a' },
      { name: 'etcd-peer', serial: 'b' },
    ]);
    journal.addPending('/pki', { serial: 'a', renewed: ['apiserver'] });
    journal.addReported('/pki', [{ name: 'apiserver', serial: 'c' }]);
    journal.clearPending('/pki', 'a');
    assert.deepEqual(saved.at(-1), { '/pki': { reported: { apiserver: 'c', 'etcd-peer': 'b' } } });
    assert.deepEqual(journal.reported('/pki'), ['c', 'b']);
  });

  it('returns the records of an earlier run', () => {
    const rolledBack = { ...rollback, count: 2 };
    const { journal, saved } = journalOf({ server: { hooksPending: 'a', rolledBack } });
    assert.equal(journal.pending('server'), 'a');
    assert.deepEqual(journal.rollback('server'), rolledBack);
    assert.equal(journal.pending('client'), undefined);
    assert.deepEqual(saved, []);
  });

  it('addRollback() counts rollbacks in a row, and adds pending hooks', () => {
    const { journal, saved } = journalOf();
    assert.equal(journal.nextCount('server'), 1);
    journal.addRollback('server', rollback);
    journal.addPending('server', { serial: 'c' });
    journal.clearPending('server', 'c');
    assert.equal(journal.nextCount('server'), 2);
    journal.addRollback('server', { ...rollback, from: 'c' });
    assert.deepEqual(saved.at(-1), {
      server: { hooksPending: 'a', rolledBack: { ...rollback, from: 'c', count: 2 } },
    });
  });

  it('served() ends the rollbacks in a row with a new pair only', () => {
    const { journal } = journalOf();
    journal.addRollback('server', rollback);
    journal.served('server', 'a');
    assert.equal(journal.nextCount('server'), 2);
    journal.served('server', 'c');
    assert.equal(journal.rollback('server'), undefined);
    assert.equal(journal.nextCount('server'), 1);
    assert.equal(journal.pending('server'), 'a');
  });
});
