import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { mayI, whoAmI } from '../../src/kube/access-review.ts';
import { startSandbox } from '../sandbox/sandbox.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { ApiServer, clientOf, sendJson } from './support/api-server.ts';
import { clientFor } from './support/sandbox-client.ts';

const { signal } = new AbortController();

describe('mayI()', () => {
  it('mayI() asks without doing', async () => {
    await using sandbox = await startSandbox({ clock: systemClock });
    await using client = await clientFor(sandbox.bootstrapKubeconfig());
    const csrs = { group: 'certificates.k8s.io', resource: 'certificatesigningrequests' };
    assert.equal(await mayI(client, { ...csrs, verb: 'create' }, signal), true);
    assert.equal(await mayI(client, { ...csrs, verb: 'delete' }, signal), false);
    const nodes = { group: '', resource: 'nodes', name: 'n1', verb: 'get' };
    assert.equal(await mayI(client, nodes, signal), false);
    assert.deepEqual(sandbox.csrs(), []);
  });

  it('mayI() takes an answer without the field for no', async () => {
    await using server = await ApiServer.start((_, response) =>
      sendJson(response, { status: {} }, 201),
    );
    await using client = await clientOf(server);
    assert.equal(await mayI(client, { group: '', resource: 'x', verb: 'get' }, signal), false);
  });
});

describe('whoAmI()', () => {
  it('whoAmI() is what the server takes the client for', async () => {
    await using sandbox = await startSandbox({
      clock: systemClock,
      bootstrapToken: 'abcdef.0123456789abcdef',
    });
    await using bearer = await clientFor(sandbox.bootstrapKubeconfig());
    assert.deepEqual(await whoAmI(bearer, signal), {
      username: 'system:bootstrap:abcdef',
      groups: ['system:bootstrappers', 'system:authenticated'],
    });
    await using admin = await clientFor(sandbox.adminKubeconfig());
    assert.equal((await whoAmI(admin, signal)).username, 'sandbox-admin');
  });
});
