import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { CertificateReport } from '../../src/cli/status-report.ts';
import { statusTable } from '../../src/cli/status-table.ts';
import { start } from './statuses.ts';

function remarks(change: Partial<CertificateReport>): string[] {
  const entry = { name: 'a', path: '/pki/a', condition: 'missing', overdue: false } as const;
  const table = statusTable({
    source: 'directory',
    nodeName: 'worker-1',
    certificateDirectory: '/pki',
    now: start,
    certificates: [{ ...entry, ...change }],
  });
  return table.trimEnd().split('\n').slice(5);
}

describe('statusTable()', () => {
  const failure = { code: 'CSR_DENIED', message: 'denied', remedy: 'Ask' } as const;
  const told = ['', 'a: denied (CSR_DENIED)', '  → Ask'];
  const cases: readonly (readonly [string, Partial<CertificateReport>, readonly string[]])[] = [
    ['nothing where nothing failed', {}, []],
    [
      'the next try of a failure',
      { failure, nextAttempt: start + 18_000 },
      [...told, 'a: next try in 18s'],
    ],
    ['no next try when that is past', { failure, nextAttempt: start - 18_000 }, told],
    ['nothing for a past try alone', { nextAttempt: start - 18_000 }, []],
  ];
  for (const [name, change, expected] of cases) {
    it(`statusTable() remarks ${name}`, () => assert.deepEqual(remarks(change), expected));
  }
});
