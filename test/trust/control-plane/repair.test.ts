import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { repairOn } from '../../../src/trust/control-plane/repair.ts';
import { next, old, writeControlPlane } from '../cluster/control-plane-files.ts';

describe('repairOn()', () => {
  it('names the step that writes the files again, after a step has begun', async (context) => {
    const created = {
      'ca.crt': old.pem,
      'ca.key': old.key.toString(),
      'ca-next.crt': next.pem,
      'ca-next.key': next.key.toString(),
    };
    // The node has a certificate from the new CA, but the old CA still signs.
    const repair = await repairOn(await writeControlPlane(context, created));
    assert.equal(repair, 'nodecertd ca-rollover apply trust --ca kubernetes');
    const switched = { ...created, 'ca-signing.crt': next.pem };
    assert.equal(
      await repairOn(await writeControlPlane(context, switched)),
      'nodecertd ca-rollover apply switch --ca kubernetes',
    );
    const none = await repairOn(await writeControlPlane(context, { 'ca.crt': old.pem }));
    assert.equal(none, undefined);
  });
});
