import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { failingChecks } from '../../src/kube/readiness.ts';
import type { Handler } from './support/api-server.ts';
import { ApiServer, clientOf, sendStatus } from './support/api-server.ts';
import { failureOf, never } from './support/requests.ts';

const text =
  (status: number, body: string): Handler =>
  (_, response) => {
    response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(body);
  };

const notReady = `[+]ping ok
[-]etcd failed: reason withheld
[+]poststarthook/start-apiextensions-controllers ok
[-]poststarthook/rbac/bootstrap-roles failed: reason withheld
readyz check failed
`;

describe('failingChecks()', () => {
  const rows = [
    ['none of a server that is ready', text(200, '[+]ping ok\nreadyz check passed\n'), []],
    ['the checks that fail', text(500, notReady), ['etcd', 'poststarthook/rbac/bootstrap-roles']],
  ] as const;
  for (const [what, handler, expected] of rows) {
    it(`returns ${what}`, async () => {
      await using server = await ApiServer.start(handler);
      await using client = await clientOf(server);
      assert.deepEqual(await failingChecks(client, never), expected);
      assert.equal(server.requests[0]?.url, '/readyz?verbose');
    });
  }

  it('rejects a 500 without a list of checks as API_SERVER_ERROR', async () => {
    await using server = await ApiServer.start(text(500, 'no'));
    await using client = await clientOf(server);
    const { code, message } = await failureOf(failingChecks(client, never));
    assert.deepEqual([code, message], ['API_SERVER_ERROR', 'get /readyz?verbose: HTTP status 500']);
  });

  it('rejects a refused credential as API_UNAUTHORIZED', async () => {
    await using server = await ApiServer.start((_, response) => sendStatus(response, 401));
    await using client = await clientOf(server);
    assert.equal((await failureOf(failingChecks(client, never))).code, 'API_UNAUTHORIZED');
  });
});
