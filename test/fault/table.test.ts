import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatRows } from './table.ts';

describe('formatRows()', () => {
  it('aligns counts to the right and words to the left', () => {
    const table = formatRows([
      { fault: 'kill -9 at write', tried: 120, lost: 0, recovery: 1.25, seen: ['rotation_failed'] },
      { fault: 'clock', tried: 4, lost: 0, seen: ['overdue', 'csr_created'] },
    ]);
    assert.deepEqual(table.split('\n'), [
      'fault             tried  pairs lost  recovery  what the log and the metrics said',
      'kill -9 at write    120           0     1.3 s  rotation_failed',
      'clock                 4           0         -  overdue, csr_created',
    ]);
  });
});
