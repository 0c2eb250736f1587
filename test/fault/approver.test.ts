import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';
import { approver } from './approver.ts';
import { collectRows } from './collect-rows.ts';

const skip = skipWithoutRealControlPlane();

describe('an approver behind a faulty API server', { skip }, () => {
  it('decides each CSR exactly once, and none on outdated facts', async (context) => {
    const rows = await collectRows(approver, context);
    assert.equal(rows.length, 8);
    for (const { fault, tried, recovery } of rows) {
      assert.ok(tried === 9 && recovery !== undefined, fault);
    }
  });
});
