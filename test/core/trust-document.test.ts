import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { trustDocument } from '../../src/core/trust-document.ts';
import type { TrustReport } from '../../src/core/trust-report.ts';

const time = Date.UTC(2026, 10, 29, 12);
const text = '2026-11-29T12:00:00Z';

const report: TrustReport = {
  outcome: 'waiting',
  stage: 'dropping',
  authorities: [
    {
      fingerprint: 'a1',
      pin: 'sha256:b2',
      subject: 'CN=kubernetes',
      notAfter: time,
      isHeld: true,
      isWanted: false,
      missingSince: time,
      keptBecause: [],
    },
  ],
  places: [],
  sources: [],
  leaves: [],
  reader: { state: 'pending', since: time, restartAt: time },
  findings: [],
  changedAt: time,
  retryAfterSeconds: 60,
};

describe('trustDocument()', () => {
  it('shows every time in RFC 3339', () => {
    const { authorities, reader, changedAt } = trustDocument(report);
    const [{ notAfter, missingSince } = {}] = authorities;
    assert.deepEqual([notAfter, missingSince, changedAt], [text, text, text]);
    assert.deepEqual(reader, { state: 'pending', since: text, restartAt: text });
  });

  it('has a kind, and no key for a time that the report lacks', () => {
    const { changedAt: _, ...rest } = report;
    const document = trustDocument({ ...rest, reader: { state: 'current' } });
    assert.equal(document.kind, 'TrustReport');
    assert.equal('changedAt' in document, false);
    assert.deepEqual(document.reader, { state: 'current' });
  });
});
