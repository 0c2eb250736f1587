import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parse } from 'yaml';
import { ApiClient } from '../support/api-client.ts';
import { startSandboxControlPlane } from '../support/sandbox-control-plane.ts';
import { csrBody, csrsPath, makeRequest, waitFor } from './fixtures.ts';

describe('startSandboxControlPlane()', { timeout: 20_000 }, () => {
  it('implements every method of ControlPlane', async () => {
    await using plane = await startSandboxControlPlane({ signingSeconds: 20 });
    const { users } = parse(await plane.bootstrapKubeconfig()) as {
      users: { user: { token: string } }[];
    };
    const { token = '' } = users[0]?.user ?? {};
    await using client = new ApiClient({ server: plane.server, caPem: plane.caPem, token });
    await plane.setApproving(false);
    const { pem } = await makeRequest();
    for (const name of ['one', 'two', 'three']) {
      await client.must({ method: 'POST', path: csrsPath, body: csrBody(name, pem) });
    }
    await plane.approve('one');
    await waitFor(client, 'one', ({ status }) => status.certificate !== undefined);
    await plane.deny('two', 'NotWanted');
    await plane.fail('three', 'NotPossible');
    const observed = await plane.csrs();
    assert.deepEqual(
      observed.map(({ name, conditions, issued }) => ({ name, conditions, issued })),
      [
        { name: 'one', conditions: ['Approved'], issued: true },
        { name: 'three', conditions: ['Failed'], issued: false },
        { name: 'two', conditions: ['Denied'], issued: false },
      ],
    );
    assert.equal(observed[0]?.request, pem);
    await plane.deleteCsr('two');
    assert.equal((await plane.csrs()).length, 2);

    await plane.stopApi();
    await assert.rejects(client.request({ method: 'GET', path: '/readyz' }));
    await plane.startApi();
    assert.equal((await client.request({ method: 'GET', path: '/readyz' })).body, 'ok');
    const path = `${csrsPath}/one/approval`;
    await client.request({ method: 'PUT', path, body: {} });

    const user = `system:bootstrap:${token.slice(0, 6)}`;
    const resource = 'certificatesigningrequests';
    assert.deepEqual(
      (await plane.requests()).map((request) => Object.values(request)),
      [
        [user, 'create', resource, 'one', 201],
        [user, 'create', resource, 'two', 201],
        [user, 'create', resource, 'three', 201],
        [user, 'watch', resource, 'one', 200],
        [user, 'update', `${resource}/approval`, 'one', 403],
      ],
    );
  });
});
