import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readNodeReadiness } from '../../src/kube/node-readiness.ts';
import type { Handler } from './support/api-server.ts';
import { ApiServer, clientOf, sendJson, sendStatus } from './support/api-server.ts';

async function read(handler: Handler): Promise<string> {
  await using server = await ApiServer.start(handler);
  await using client = await clientOf(server);
  const found = await readNodeReadiness(client, 'n1', new AbortController().signal);
  assert.equal(server.requests[0]?.url, '/api/v1/nodes/n1');
  return found;
}

function node(...conditions: readonly (readonly [string, string])[]): Handler {
  return (_, response) => {
    const listed = conditions.map(([type, status]) => ({ type, status }));
    sendJson(response, { metadata: { name: 'n1' }, status: { conditions: listed } });
  };
}

describe('readNodeReadiness()', () => {
  for (const [expected, what, handler] of [
    ['ready', 'a Node that is Ready', node(['DiskPressure', 'False'], ['Ready', 'True'])],
    ['not-ready', 'a Node whose kubelet is gone', node(['Ready', 'Unknown'])],
    ['not-ready', 'a Node without a status', (_, response) => sendJson(response, {})],
    [
      'absent',
      'a missing Node',
      (_, response) => sendStatus(response, 404, { details: { name: 'n1', kind: 'nodes' } }),
    ],
    [
      'forbidden',
      'a token that may not read Nodes',
      (_, response) =>
        sendStatus(response, 403, {
          message: 'nodes "n1" is forbidden: User "system:bootstrap:abcdef" cannot get resource',
        }),
    ],
  ] as const satisfies readonly (readonly [string, string, Handler])[]) {
    it(`is ${expected} for ${what}`, async () => {
      assert.equal(await read(handler), expected);
    });
  }

  it('throws if the API server fails', async () => {
    const failing = read((_, response) => sendStatus(response, 500));
    await assert.rejects(failing, { code: 'API_SERVER_ERROR' });
  });
});
