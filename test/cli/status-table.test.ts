import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { CertificateReport } from '../../src/cli/status-report.ts';
import { remedies } from '../../src/core/remedies.ts';
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
  const message = 'the hook reload a.service: exit code 1';
  const hookFailure = { code: 'HOOK_FAILED', message, remedy: 'See its lines' } as const;
  const told = ['', 'a: denied (CSR_DENIED)', '  → Ask'];
  const cases: readonly (readonly [string, Partial<CertificateReport>, readonly string[]])[] = [
    ['nothing where nothing failed', {}, []],
    [
      'the next try of a failure',
      { failure, nextAttempt: start + 18_000 },
      [...told, 'a: next try in 18s'],
    ],
    ['no next try when that is past', { failure, nextAttempt: start - 18_000 }, told],
    [
      'hooks that fail, and where another certificate is served',
      {
        hooks: [
          { name: '/bin/a', succeededAt: start },
          { name: 'reload a.service', failure: { ...hookFailure, at: start } },
        ],
        served: {
          at: start,
          endpoints: [
            { endpoint: '127.0.0.1:1', state: 'current' },
            { endpoint: '[::1]:1', state: 'other', serial: '7', notAfter: start },
          ],
        },
      },
      [
        '',
        'a: the hook reload a.service: exit code 1 (HOOK_FAILED)',
        '  → See its lines',
        'a: [::1]:1 serves another one, serial 7, valid until 2026-01-01T12:00:00Z',
        `  → ${remedies.SERVED_STALE}`,
      ],
    ],
    ['nothing where all that follows is done', { hooks: [{ name: 'a', succeededAt: start }] }, []],
    [
      'what an unissued request waits for',
      { state: 'pending-issuance', csr: { name: 'csr-1', uid: '1', createdAt: start } },
      [
        '',
        'a: request csr-1 is approved, and not issued yet',
        '  → see that its signer runs: kubectl describe csr csr-1',
      ],
    ],
    [
      'why nothing is asked for although nothing failed',
      { state: 'backing-off', nextAttempt: start + 60_000 },
      [
        '',
        'a: requests of earlier runs came to nothing, so the next one waits',
        '  → nodecertd renew a, which asks at once; why the agent was restarted says: journalctl -u nodecertd',
        'a: next try in 1m',
      ],
    ],
    ['the failure of an attempt, not that it waits', { state: 'backing-off', failure }, told],
    [
      'who rotates it',
      { state: 'observing' },
      ['', 'a: rotated by the kubelet itself, and only watched', '  → nodecertd adopt'],
    ],
    ['nothing for a past try alone', { nextAttempt: start - 18_000 }, []],
  ];
  for (const [name, change, expected] of cases) {
    it(`statusTable() remarks ${name}`, () => assert.deepEqual(remarks(change), expected));
  }
});
