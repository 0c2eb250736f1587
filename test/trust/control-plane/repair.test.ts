import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { AgentError } from '../../../src/core/errors.ts';
import { lostAuthority, repairOn } from '../../../src/trust/control-plane/repair.ts';
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

describe('lostAuthority()', () => {
  const rejected = new AgentError('API_UNAUTHORIZED', 'get /version: 401 Unauthorized');
  const switched = {
    'ca.crt': old.pem,
    'ca.key': old.key.toString(),
    'ca-previous.crt': old.pem,
    'ca-signing.crt': next.pem,
    'ca-next.crt': next.pem,
    'ca-next.key': next.key.toString(),
  };

  it('names the command that writes both CAs, and then the step', async (context) => {
    const directories = await writeControlPlane(context, switched);
    const { certificates } = directories;
    const [trusted, bundle] = ['ca.crt', 'ca-bundle.crt'].map((name) => join(certificates, name));
    assert.deepEqual(await lostAuthority(rejected, directories), {
      state: 'harmful',
      message: `${trusted} lacks the new CA, so kube-apiserver on this node rejects clients with a certificate from it (get /version: 401 Unauthorized)`,
      remedy: `Write both CAs into it: cp ${bundle} ${trusted}; then run: nodecertd ca-rollover apply switch --ca kubernetes`,
    });
    const unreachable = new AgentError('API_UNREACHABLE', 'connection refused');
    assert.equal(await lostAuthority(unreachable, directories), undefined);
  });

  it('is undefined if ca.crt has both CAs, or has lost none yet', async (context) => {
    const both = { ...switched, 'ca.crt': `${next.pem}${old.pem}` };
    assert.equal(await lostAuthority(rejected, await writeControlPlane(context, both)), undefined);
    const none = { 'ca.crt': old.pem };
    assert.equal(await lostAuthority(rejected, await writeControlPlane(context, none)), undefined);
  });
});
