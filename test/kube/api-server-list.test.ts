import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ApiServerPlace } from '../../src/kube/api-server-list.ts';
import { otherApiServers } from '../../src/kube/api-server-list.ts';
import { ApiServer, clientOf, sendJson, sendStatus } from './support/api-server.ts';
import { never } from './support/requests.ts';

const nodes: Readonly<Record<string, readonly string[]>> = {
  cp1: ['10.0.0.1'],
  cp2: ['10.0.0.2'],
  cp3: ['fd00::3', '10.0.0.3'],
  cp4: [],
};

async function listed(slice: readonly string[] | undefined): Promise<ApiServerPlace[]> {
  await using server = await ApiServer.start((request, response) => {
    if (request.url?.startsWith('/api/v1/nodes') === true) {
      const items = Object.entries(nodes).map(([name, addresses]) => ({
        metadata: { name },
        status: {
          addresses: [
            { type: 'Hostname', address: name },
            ...addresses.map((address) => ({ type: 'InternalIP', address })),
          ],
        },
      }));
      return sendJson(response, { items });
    }
    if (slice === undefined) {
      return sendStatus(response, 404, { details: { name: 'kubernetes', kind: 'endpointslices' } });
    }
    sendJson(response, {
      endpoints: slice.map((address) => ({ addresses: [address] })),
      ports: [{ name: 'https', port: 7443 }],
    });
  });
  await using client = await clientOf(server);
  const own = { nodeName: 'elsewhere', addresses: new Set(['10.0.0.1']) };
  const places = await otherApiServers(client, own, never);
  assert.deepEqual(
    server.requests.map(({ url }) => url),
    [
      '/api/v1/nodes?labelSelector=node-role.kubernetes.io%2Fcontrol-plane',
      '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes',
    ],
  );
  return places;
}

describe('otherApiServers()', () => {
  it('joins Nodes and the EndpointSlice, without this machine', async () => {
    assert.deepEqual(await listed(['10.0.0.1', '10.0.0.3', '10.0.0.9']), [
      // An API server that is down is not in the slice.
      { name: 'cp2', address: '10.0.0.2', port: 7443 },
      { name: 'cp3', address: '10.0.0.3', port: 7443 },
      { name: 'cp4', port: 7443 },
      { name: '10.0.0.9', address: '10.0.0.9', port: 7443 },
    ]);
  });

  it('uses the port 6443 without the EndpointSlice', async () => {
    const [cp2] = await listed(undefined);
    assert.deepEqual(cp2, { name: 'cp2', address: '10.0.0.2', port: 6443 });
  });
});
