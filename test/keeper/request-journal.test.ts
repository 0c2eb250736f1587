import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { OutstandingRequests } from '../../src/keeper/request-journal.ts';
import { RequestJournal } from '../../src/keeper/request-journal.ts';
import { day, hour, minute, second } from '../../src/core/instant.ts';
import { start } from '../core/fixtures.ts';

function journalOf(outstanding: OutstandingRequests = {}): {
  readonly journal: RequestJournal;
  readonly saved: OutstandingRequests[];
} {
  const saved: OutstandingRequests[] = [];
  return { saved, journal: new RequestJournal(outstanding, (now) => saved.push(now)) };
}

const csr = (
  name: string,
  createdAt = start,
): { name: string; uid: string; createdAt: number } => ({
  name,
  uid: `uid of ${name}`,
  createdAt,
});

describe('RequestJournal', () => {
  it('add() saves a new CSR once, without its uid', () => {
    const { journal, saved } = journalOf();
    assert.equal(journal.add('client', csr('a')), true);
    assert.equal(journal.add('client', csr('a')), false);
    assert.deepEqual(saved, [{ client: [{ csr: 'a', createdAt: start }] }]);
  });

  it('found() clears the count only for a CSR that it knows', () => {
    const { journal, saved } = journalOf();
    journal.add('client', csr('a'));
    journal.add('client', csr('b'));
    assert.equal(journal.found('client', 'c'), false);
    assert.equal(journal.found('server', 'a'), false);
    assert.equal(saved.length, 2);
    assert.equal(journal.found('client', 'a'), true);
    assert.deepEqual(saved.at(-1), { client: [] });
  });

  it('counts each certificate separately', () => {
    const { journal, saved } = journalOf();
    journal.add('client', csr('a'));
    journal.add('server', csr('b'));
    journal.clear('client');
    assert.deepEqual(saved.at(-1), { client: [], server: [{ csr: 'b', createdAt: start }] });
  });

  it('add() limits the number of entries', () => {
    const { journal, saved } = journalOf();
    for (let n = 0; n < 40; n += 1) journal.add('client', csr(`c${n}`));
    assert.equal(saved.at(-1)?.['client']?.length, 10);
    assert.equal(journal.delayFor('client', start), hour);
  });

  it('outstanding() ignores CSRs more than a day away', () => {
    const { journal } = journalOf({
      client: [
        { csr: 'old', createdAt: start - day },
        { csr: 'fresh', createdAt: start - day + 1 },
        { csr: 'future', createdAt: start + day },
      ],
    });
    assert.equal(journal.outstanding('client', start), 1);
    assert.equal(journal.outstanding('other', start), 0);
  });

  it('add() drops old entries', () => {
    const { journal, saved } = journalOf({ client: [{ csr: 'old', createdAt: start - 2 * day }] });
    journal.add('client', csr('a'));
    assert.deepEqual(saved.at(-1), { client: [{ csr: 'a', createdAt: start }] });
  });

  it('delayFor() grows with the number of unfinished CSRs', () => {
    const delays = [0, 1, 2, 3, 4, 5, 6, 60].map((count) => {
      const client = Array.from({ length: count }, (_, n) => ({ csr: `c${n}`, createdAt: start }));
      return journalOf({ client }).journal.delayFor('client', start);
    });
    const expected = [0, 0, 10 * second, minute, 5 * minute, 15 * minute, hour, hour];
    assert.deepEqual(delays, expected);
  });
});
