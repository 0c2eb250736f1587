import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { trustTable } from '../../src/cli/trust-table.ts';
import { start } from '../core/fixtures.ts';
import { trustReport } from '../keeper/trust-documents.ts';

describe('trustTable()', () => {
  it('names the refusal before anything else that the run waits for', () => {
    const refusal = {
      code: 'TRUST_REFUSED',
      message: 'the bundle has 17 CAs',
      remedy: 'Remove some',
      reason: 'too-many',
    } as const;
    const failure = {
      code: 'KUBELET_RESTART',
      message: 'the kubelet reads its files later',
    } as const;
    const report = trustReport({ outcome: 'refused', refusal, failure });
    assert.match(
      trustTable(report, start),
      /^Refused: the bundle has 17 CAs \(TRUST_REFUSED\)\n {2}→ Remove some\n/,
    );
  });
});
