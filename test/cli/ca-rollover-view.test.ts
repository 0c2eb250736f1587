import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { viewGates } from '../../src/cli/ca-rollover-view.ts';
import type { RolloverQuestion } from '../../src/trust/cluster/rollover.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { accessTo, ApiServer, sendStatus } from '../kube/support/api-server.ts';
import { next, old, writeControlPlane } from '../trust/cluster/control-plane-files.ts';

function questionOf(
  access: RolloverQuestion['access'],
  directories: RolloverQuestion['directories'],
): RolloverQuestion {
  return {
    access,
    directories,
    keyFiles: [],
    named: {},
    confirmed: {},
    dial: false,
    auditLogs: [],
    version: '1.2.3',
    clock: systemClock,
    signal: new AbortController().signal,
  };
}

describe('viewGates()', () => {
  const switched = {
    'ca.key': old.key.toString(),
    'ca-previous.crt': old.pem,
    'ca-signing.crt': next.pem,
    'ca-next.crt': next.pem,
    'ca-next.key': next.key.toString(),
  };

  it('closes G1 with the file that lacks a CA, if the API server answers 401', async (context) => {
    await using server = await ApiServer.start((_, response) => sendStatus(response, 401));
    using access = await accessTo(server);
    const directories = await writeControlPlane(context, { ...switched, 'ca.crt': old.pem });
    const { gates } = await viewGates(questionOf(access, directories));
    assert.deepEqual(
      gates.map(({ id, state }) => [id, state]),
      [['G1', 'harmful']],
    );
    const path = join(directories.certificates, 'ca.crt');
    assert.ok(gates[0]?.reasons[0]?.message.startsWith(`${path} lacks the new CA`));
  });

  it('fails with the error if the files of this node do not explain it', async (context) => {
    await using server = await ApiServer.start((_, response) => sendStatus(response, 401));
    using access = await accessTo(server);
    const both = { ...switched, 'ca.crt': `${next.pem}${old.pem}` };
    const question = questionOf(access, await writeControlPlane(context, both));
    await assert.rejects(viewGates(question), { code: 'API_UNAUTHORIZED' });
  });
});
