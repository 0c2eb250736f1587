import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hour, minute } from '../../src/core/instant.ts';
import type { TrustStatus } from '../../src/core/status.ts';
import { trustRemarks } from '../../src/core/trust-remarks.ts';
import type { TrustReport } from '../../src/core/trust-report.ts';
import { trustReport } from '../keeper/trust-documents.ts';

const now = Date.UTC(2026, 0, 10);

function remarks(report: Partial<TrustReport>, status: Partial<TrustStatus> = {}): string[] {
  const trust: TrustStatus = {
    state: 'in-sync',
    since: now - hour,
    report: trustReport(report),
    reissues: [],
    ...status,
  };
  return trustRemarks(trust, now).flatMap(({ what, remedy, isProblem }) => [
    `${isProblem ? '!' : '-'} ${what}`,
    ...(remedy === undefined ? [] : [`→ ${remedy}`]),
  ]);
}

const place = { kind: 'client-ca', path: '/ca.crt', isKept: false, authorities: [] } as const;
const source = { kind: 'cluster-info', name: 'cluster-info', authorities: [] } as const;

describe('trustRemarks()', () => {
  const cases: readonly (readonly [string, Partial<TrustReport>, readonly string[]])[] = [
    ['nothing if all is well', {}, []],
    [
      'findings, with their remedies',
      { findings: [{ id: 'a', message: 'two CAs have one name', remedy: 'Remove one' }] },
      ['! two CAs have one name', '→ Remove one'],
    ],
    [
      'places that cannot be read or written',
      { places: [{ ...place, problem: 'is a directory' }] },
      ['! /ca.crt: is a directory'],
    ],
    [
      'sources that failed, but not those that the cluster does not have',
      {
        sources: [
          { ...source, outcome: 'failed', reason: 'timed out' },
          { ...source, outcome: 'absent', reason: 'not found' },
        ],
      },
      ['! cluster-info cannot be read: timed out'],
    ],
    [
      'findings about steps that go on by themselves, as such',
      {
        findings: [
          { id: 'ca_kept', message: 'the old CA cannot be dropped yet' },
          { id: 'reader_pending', message: 'the kubelet is pending', remedy: 'Do nothing' },
        ],
      },
      ['- the old CA cannot be dropped yet', '- the kubelet is pending', '→ Do nothing'],
    ],
    [
      'a kubelet that a person has to restart',
      { findings: [{ id: 'reader_pending', message: 'it is pending', remedy: 'Restart it' }] },
      ['! it is pending', '→ Restart it'],
    ],
    [
      'a kubelet that nodecertd restarts',
      {
        findings: [{ id: 'reader_pending', message: 'it is pending', remedy: 'Restart it now' }],
        reader: { state: 'pending', restartAt: now + minute },
      },
      ['- it is pending', '→ Restart it now'],
    ],
  ];
  for (const [title, report, expected] of cases) {
    it(`has ${title}`, () => {
      assert.deepEqual(remarks(report), expected);
    });
  }

  it('has failures before the steps of a rollover', () => {
    const failure = {
      code: 'INTERNAL',
      message: 'no space',
      remedy: 'Free some',
      at: now,
    } as const;
    const status: Partial<TrustStatus> = {
      failure,
      waitsFor: 'the API server is unreachable',
      reissues: [
        { name: 'a', kind: 'scheduled', at: now + hour },
        { name: 'b', kind: 'waiting-for-signer', at: now - minute },
        { name: 'c', kind: 'held' },
      ],
      hooks: [{ name: '/bin/hook', failure: { ...failure, message: 'hook failed' } }],
    };
    const behind = 'was not issued by the CA that its signer uses now';
    assert.deepEqual(remarks({}, status), [
      '! no space (INTERNAL)',
      '→ Free some',
      '! hook failed',
      '→ Free some',
      '- the API server is unreachable',
      `- a ${behind}; nodecertd requests another certificate in 1h`,
      '- b: the signer used the old CA again; next attempt now',
      `- c ${behind}; trust.holdServing postpones its renewal`,
    ]);
  });
});
