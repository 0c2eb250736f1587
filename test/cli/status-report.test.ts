import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Condition } from '../../src/cli/status-report.ts';
import {
  conditionOf,
  lifetimeLeft,
  reportDocument,
  reportExitCode,
} from '../../src/cli/status-report.ts';
import { pki } from '../metrics/fixtures.ts';
import { pairFacts, start } from './statuses.ts';

describe('conditionOf()', () => {
  // Stored at `start`, valid for 100 s from then, backdated by five minutes.
  const cases: readonly (readonly [string, number, boolean, Condition])[] = [
    ['freshly stored', start, false, 'valid'],
    ['with 11 % left', start + 89_000, false, 'valid'],
    ['with 9 % left', start + 91_000, false, 'expiring'],
    ['overdue', start + 50_000, true, 'expiring'],
    ['at its notAfter', start + 100_000, false, 'expired'],
    ['before its notBefore', start - 300_001, false, 'not-yet-valid'],
  ];
  for (const [name, now, overdue, condition] of cases) {
    it(`calls a certificate ${name} ${condition}`, () => {
      assert.equal(conditionOf(pairFacts(), now, overdue), condition);
    });
  }

  it('calls a temporary certificate self-signed until it expires', () => {
    const temporary = pairFacts({ selfSigned: true });
    assert.equal(conditionOf(temporary, start, false), 'self-signed');
    assert.equal(conditionOf(temporary, start + 100_000, false), 'expired');
  });
});

describe('lifetimeLeft()', () => {
  it('counts from the time of storing and stays between 1 and 0', () => {
    const shares = [start - 1, start, start + 25_000, start + 100_000, start + 1e9].map((now) =>
      lifetimeLeft(pairFacts(), now),
    );
    assert.deepEqual(shares, [1, 1, 0.75, 0, 0]);
  });
});

describe('reportDocument()', () => {
  it('has the renewal of control-plane certificates, with times in RFC 3339', () => {
    const report = {
      source: 'agent',
      nodeName: 'n',
      certificateDirectory: '/',
      now: start,
      certificates: [],
      pki: pki({ failure: { code: 'INTERNAL', message: 'm', at: start } }),
    } as const;
    const document = JSON.parse(JSON.stringify(reportDocument(report))) as { pki: unknown };
    assert.deepEqual(document.pki, {
      directory: '/etc/kubernetes',
      state: 'not-due',
      since: '2026-01-10T11:00:00Z',
      failure: { code: 'INTERNAL', message: 'm', at: '2026-01-01T12:00:00Z' },
      problems: [],
      nextDue: { name: 'apiserver', time: '2026-08-28T12:00:00Z' },
      lastSuccess: '2025-12-11T12:00:00Z',
      nextCheck: '2026-01-10T13:00:00Z',
    });
  });
});

describe('reportExitCode()', () => {
  const cases: readonly (readonly [readonly Condition[], number])[] = [
    [['valid', 'valid'], 0],
    [['valid', 'expiring'], 3],
    [['expiring', 'missing'], 4],
    [['self-signed'], 4],
    [['not-yet-valid'], 4],
    [['invalid'], 4],
    [[], 4],
  ];
  for (const [conditions, code] of cases) {
    it(`is ${code} for ${conditions.join(', ') || 'no certificates'}`, () => {
      const certificates = conditions.map((condition) => ({
        name: 'a',
        path: '/a',
        overdue: false,
        condition,
      }));
      const report = {
        source: 'directory',
        nodeName: 'n',
        certificateDirectory: '/',
        now: 0,
      } as const;
      assert.equal(reportExitCode({ ...report, certificates }), code);
    });
  }

  it('is 3 after a failed renewal of control-plane certificates', () => {
    const certificates = [{ name: 'a', path: '/a', overdue: false, condition: 'valid' }] as const;
    const report = {
      source: 'agent',
      nodeName: 'n',
      certificateDirectory: '/',
      now: start,
      certificates,
    } as const;
    assert.equal(reportExitCode({ ...report, pki: pki() }), 0);
    const failure = { code: 'INTERNAL', message: 'm', at: start } as const;
    assert.equal(reportExitCode({ ...report, pki: pki({ failure }) }), 3);
  });
});
