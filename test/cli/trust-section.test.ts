import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { trustSection } from '../../src/cli/trust-section.ts';
import { minute } from '../../src/core/instant.ts';
import { newCa, oldCa, trustReport } from '../keeper/trust-documents.ts';

const now = Date.UTC(2026, 0, 10);
const since = now - minute;

describe('trustSection()', () => {
  it('has the table of the last run, and what only the agent knows', () => {
    const report = trustReport({ stage: 'reissuing', authorities: [oldCa, newCa] });
    const reissues = [{ name: 'kubelet-client', kind: 'scheduled', at: now + minute }] as const;
    const nextCheck = now + 7 * minute;
    const trust = { state: 'in-sync', since, report, reissues, nextCheck } as const;
    const lines = trustSection(trust, now);
    assert.equal(lines[1], 'Trusted CAs: in-sync, next check in 7m');
    assert.ok(lines.includes('Stage: reissuing'));
    assert.ok(lines.some((line) => line.includes('CN=kubernetes-2026-01')));
    assert.deepEqual(lines.slice(-3), [
      '',
      'AGENT',
      '  kubelet-client was not issued by the CA that its signer uses now; nodecertd requests another certificate in 1m',
    ]);
  });

  it('has the failure of the command, but not the one in the table again', () => {
    const failure = { code: 'INTERNAL', message: 'no memory', remedy: 'Add some' } as const;
    const ended = {
      state: 'failed',
      since,
      reissues: [],
      failure: { ...failure, at: now },
    } as const;
    const ofCommand = trustSection({ ...ended, report: trustReport() }, now);
    assert.deepEqual(ofCommand.slice(-3), ['AGENT', '  no memory (INTERNAL)', '    → Add some']);
    const ofRun = trustSection(
      { ...ended, report: trustReport({ outcome: 'failed', failure }) },
      now,
    );
    assert.ok(ofRun.some((line) => line.includes('no memory')));
    assert.ok(!ofRun.includes('AGENT'));
  });

  it('has one line before the first check', () => {
    const trust = { state: 'starting', since, reissues: [] } as const;
    assert.deepEqual(trustSection(trust, now), ['', 'Trusted CAs: starting']);
  });
});
