import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { skipWithout } from '../support/programs.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';
import { collectRows } from './collect-rows.ts';
import { discovery } from './discovery.ts';

const skip = skipWithout('strace') || skipWithoutRealControlPlane();

describe('nodecertd discover', { skip }, () => {
  it('leaves no damaged file, and sends the token to no other server', async (context) => {
    const [killed, ...faults] = await collectRows(discovery, context);
    assert.ok((killed?.tried ?? 0) >= 4, `${killed?.tried} kills`);
    assert.equal(faults.length, 10);
    for (const { fault, tried, recovery } of faults) {
      assert.ok(tried >= 1 && recovery !== undefined, fault);
    }
  });
});
