import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { NodeAddress } from '../../src/core/enroller-protocol.ts';
import { watchNodeAddresses } from '../../src/kube/node-client.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { ApiServer, clientOf, sendJson, sendStatus } from './support/api-server.ts';
import { CertificatesApi } from './support/certificates-api.ts';
import { failureOf } from './support/requests.ts';

const hostname = { type: 'Hostname', address: 'worker-1' };
const internal = { type: 'InternalIP', address: '10.0.0.7' };

function node(version: number, addresses?: readonly NodeAddress[]): Record<string, unknown> {
  return {
    kind: 'Node',
    metadata: { name: 'worker-1', uid: 'n', resourceVersion: String(version) },
    ...(addresses && { status: { addresses, images: [{ names: ['x'.repeat(100_000)] }] } }),
  };
}

describe('watchNodeAddresses() at its first read', () => {
  const cases: readonly [string, unknown, readonly NodeAddress[]][] = [
    ['the addresses', node(1, [hostname, internal]), [hostname, internal]],
    ['no addresses of a Node without a status', node(1), []],
    [
      'no addresses of a Node whose addresses are null',
      { ...node(1), status: { addresses: null } },
      [],
    ],
  ];
  for (const [name, body, expected] of cases) {
    it(`reports ${name}`, async () => {
      await using server = await ApiServer.start((_, response) => {
        sendJson(response, body);
      });
      await using client = await clientOf(server);
      const seen = new AbortController();
      const found: (readonly NodeAddress[])[] = [];
      const failure = await failureOf(
        watchNodeAddresses(
          { client: () => client, clock: new FakeClock(), random: () => 0.5 },
          {
            nodeName: '../secrets',
            signal: seen.signal,
            onAddresses: (addresses) => {
              found.push(addresses);
              seen.abort();
            },
          },
        ),
      );
      assert.equal(failure.code, 'ABORTED');
      assert.deepEqual(found, [expected]);
      assert.equal(server.requests[0]?.url, '/api/v1/nodes/..%2Fsecrets');
    });
  }
});

describe('watchNodeAddresses()', () => {
  it('waits for a missing Node with one watch from version 0', async () => {
    await using api = await CertificatesApi.start();
    await using client = await clientOf(api.server);
    api.answer = (_, response) => {
      sendStatus(response, 404, { reason: 'NotFound' });
    };
    const controller = new AbortController();
    const seen: (readonly NodeAddress[])[] = [];
    const watching = failureOf(
      watchNodeAddresses(
        { client: () => client, clock: new FakeClock(), random: () => 0.5 },
        {
          nodeName: 'worker-1',
          onAddresses: (addresses) => {
            seen.push(addresses);
            if (addresses.length > 0) controller.abort();
          },
          signal: controller.signal,
        },
      ),
    );
    const watch = await api.watch();
    watch.send(
      { type: 'ADDED', object: node(6) },
      { type: 'MODIFIED', object: node(7, [internal]) },
    );
    assert.equal((await watching).code, 'ABORTED');
    assert.deepEqual(seen, [[], [internal]]);
    assert.deepEqual(api.log, ['GET', 'WATCH@0']);
  });

  it('reports only changes, also after the Node is deleted and recreated', async () => {
    await using api = await CertificatesApi.start();
    await using client = await clientOf(api.server);
    api.answer = (_, response) => {
      sendJson(response, node(5, [hostname]));
    };
    const controller = new AbortController();
    const seen: (readonly NodeAddress[])[] = [];
    const clock = new FakeClock();
    const watching = failureOf(
      watchNodeAddresses(
        { client: () => client, clock, random: () => 0 },
        {
          nodeName: 'worker-1',
          onAddresses: (addresses) => {
            seen.push(addresses);
            if (seen.length === 4) controller.abort();
          },
          signal: controller.signal,
        },
      ),
    );
    const watch = await api.watch();
    watch.send(
      { type: 'MODIFIED', object: node(6, [hostname]) },
      { type: 'MODIFIED', object: node(7, [hostname, internal]) },
      { type: 'DELETED', object: node(8, [hostname, internal]) },
      { type: 'ADDED', object: node(9, [internal]) },
    );
    assert.equal((await watching).code, 'ABORTED');
    assert.deepEqual(seen, [[hostname], [hostname, internal], [], [internal]]);
    assert.deepEqual(api.log, ['GET', 'WATCH@5']);
    assert.equal(watch.url.pathname, '/api/v1/nodes');
    assert.equal(clock.sleeping, 0);
  });
});
