import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { formatInstant, minute } from '../../src/core/instant.ts';
import { Secret } from '../../src/core/secret.ts';
import { KubeClient } from '../../src/kube/rest-client.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { until } from '../keeper/fixtures.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { ApiServer, sendJson, sendStatus } from './support/api-server.ts';
import { makeAuthority } from './support/certificates.ts';
import { execCredential, PluginNode } from './support/plugin-node.ts';
import { failureOf, get } from './support/requests.ts';

/** Returns the token of the request, and 401 for the token `bad`. */
function tokenServer(): Promise<ApiServer> {
  return ApiServer.start(({ headers }, response) => {
    const token = headers.authorization ?? 'none';
    if (token === 'Bearer bad') sendStatus(response, 401);
    else sendJson(response, { token });
  });
}

describe('PluginCredentials', () => {
  it('runs the plugin once and keeps a token without an expiry', async () => {
    await using node = await PluginNode.create();
    await using server = await tokenServer();
    await node.answer(execCredential({ token: 'one' }));
    await using client = await node.client(server);
    const answers = await Promise.all([get(client), get(client)]);
    assert.deepEqual(answers, [{ token: 'Bearer one' }, { token: 'Bearer one' }]);
    assert.deepEqual(await get(client), { token: 'Bearer one' });
    assert.equal(await node.runs(), 1);
  });

  it('runs the plugin again when the credential has expired', async () => {
    await using node = await PluginNode.create();
    await using server = await tokenServer();
    const clock = new FakeClock();
    const expirationTimestamp = formatInstant(clock.now() + 10 * minute);
    await node.answer(execCredential({ token: 'one', expirationTimestamp }));
    await using client = await node.client(server, { clock });
    await get(client);
    await clock.advance(10 * minute);
    await get(client);
    assert.equal(await node.runs(), 1);
    await node.answer(execCredential({ token: 'two' }));
    await clock.advance(1);
    assert.deepEqual(await get(client), { token: 'Bearer two' });
    assert.equal(await node.runs(), 2);
  });

  it('runs the plugin again after 401', async () => {
    await using node = await PluginNode.create();
    await using server = await tokenServer();
    await node.answer(execCredential({ token: 'bad' }));
    await using client = await node.client(server);
    assert.equal((await failureOf(get(client))).code, 'API_UNAUTHORIZED');
    await node.answer(execCredential({ token: 'good' }));
    assert.deepEqual(await get(client), { token: 'Bearer good' });
    assert.equal(await node.runs(), 2);
  });

  it('runs the plugin again after a failure', async () => {
    await using node = await PluginNode.create();
    await using server = await tokenServer();
    await node.script('exit 1');
    await using client = await node.client(server);
    assert.equal((await failureOf(get(client))).code, 'PLUGIN_FAILED');
    await node.answer(execCredential({ token: 'one' }));
    assert.deepEqual(await get(client), { token: 'Bearer one' });
  });

  it('moves to new connections when the client certificate changes', async () => {
    const authority = await makeAuthority('ca');
    await using server = await ApiServer.start(
      ({ socket }, response) => {
        sendJson(response, { CN: (socket as TLSSocket).getPeerCertificate().subject.CN });
      },
      { authority, tls: { ca: authority.pem, requestCert: true } },
    );
    const clock = new FakeClock();
    const answer = async (commonName: string): Promise<string> => {
      const { cert, key } = await authority.issue({ commonName, usages: ['client auth'] });
      return execCredential({
        clientCertificateData: cert,
        clientKeyData: key,
        expirationTimestamp: formatInstant(clock.now() + minute),
      });
    };
    await using node = await PluginNode.create();
    await node.answer(await answer('first'));
    await using client = await node.client(server, { clock });
    assert.deepEqual(await Promise.all([get(client), get(client)]), [
      { CN: 'first' },
      { CN: 'first' },
    ]);
    await clock.advance(2 * minute);
    await node.answer(await answer('second'));
    assert.deepEqual(await get(client), { CN: 'second' });
    assert.equal(await node.runs(), 2);
  });

  it('does not run when the user has another credential', async () => {
    await using node = await PluginNode.create();
    await using server = await tokenServer();
    await node.answer(execCredential({ token: 'one' }));
    const access = await node.kubeconfig(server);
    const token = new Secret(new TextEncoder().encode('own'));
    const own = { ...access, credential: { ...access.credential, token } };
    await using client = await KubeClient.open({
      access: own,
      version: 'test',
      clock: systemClock,
    });
    assert.deepEqual(await get(client), { token: 'Bearer own' });
    assert.equal(await node.runs(), 0);
  });

  it('releases a canceled request while the plugin runs, and ends the plugin on close', async () => {
    await using node = await PluginNode.create();
    await using server = await tokenServer();
    await node.script('echo $$ > pid && exec sleep 600');
    const client = await node.client(server);
    const controller = new AbortController();
    const request = failureOf(get(client, '/thing', controller.signal));
    await until('the plugin runs', () => existsSync(node.path('pid')));
    await until('its process id', () => readFileSync(node.path('pid'), 'utf8').endsWith('\n'));
    const pid = Number(readFileSync(node.path('pid'), 'utf8'));
    controller.abort();
    assert.equal((await request).code, 'ABORTED');
    await client.close();
    assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
    assert.deepEqual(server.requests, []);
  });
});
