import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { AggregatedApi } from '../../src/kube/aggregated-apis.ts';
import { readAggregatedApis } from '../../src/kube/aggregated-apis.ts';
import { ApiServer, clientOf, sendJson, sendStatus } from './support/api-server.ts';
import { never } from './support/requests.ts';

const available = { type: 'Available', status: 'True', message: 'all checks passed' };

function apiService(
  version: string,
  service: object | null,
  condition: object = available,
): object {
  return {
    metadata: { name: `${version}.example.com` },
    spec: { group: 'example.com', version, service },
    status: { conditions: [condition] },
  };
}

interface Objects {
  readonly apiServices: readonly object[];
  readonly service?: object;
  readonly slices?: readonly object[];
}

async function read({ apiServices, service, slices = [] }: Objects): Promise<AggregatedApi[]> {
  const answers: Readonly<Record<string, object | undefined>> = {
    '/apis/apiregistration.k8s.io/v1/apiservices': { items: apiServices },
    '/api/v1/namespaces/extra/services/sample': service && { spec: service },
    '/apis/discovery.k8s.io/v1/namespaces/extra/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dsample':
      { items: slices },
  };
  await using server = await ApiServer.start((request, response) => {
    const answer = answers[request.url ?? ''];
    if (answer !== undefined) return sendJson(response, answer);
    sendStatus(response, 404, { details: { name: 'sample', kind: 'services' } });
  });
  await using client = await clientOf(server);
  return await readAggregatedApis(client, never);
}

const sample = { namespace: 'extra', name: 'sample', port: 8443 };
const ports = [
  { name: 'metrics', port: 80 },
  { name: 'https', port: 8443 },
];
const serverName = 'sample.extra.svc';

describe('readAggregatedApis()', () => {
  it('finds the ready endpoints behind the port of the Service', async () => {
    const apis = await read({
      apiServices: [apiService('v1', null), apiService('v2', sample)],
      service: { ports },
      slices: [
        {
          ports: [
            { name: 'metrics', port: 8080 },
            { name: 'https', port: 10443 },
          ],
          endpoints: [
            { addresses: ['10.244.0.1'] },
            { addresses: ['10.244.0.2'], conditions: { ready: true } },
            { addresses: ['10.244.0.3'], conditions: { ready: false } },
          ],
        },
        { ports: [{ name: 'metrics', port: 8080 }], endpoints: [{ addresses: ['10.244.0.4'] }] },
      ],
    });
    assert.deepEqual(apis, [
      {
        name: 'v2.example.com',
        path: '/apis/example.com/v2',
        servers: [
          { host: '10.244.0.1', port: 10443, serverName },
          { host: '10.244.0.2', port: 10443, serverName },
        ],
      },
    ]);
  });

  it('uses the port 443 and the name of an external Service', async () => {
    const [api] = await read({
      apiServices: [apiService('v1', { namespace: 'extra', name: 'sample' })],
      service: { type: 'ExternalName', externalName: 'sample.example.com' },
    });
    assert.deepEqual(api?.servers, [{ host: 'sample.example.com', port: 443, serverName }]);
  });

  it('says why an APIService is not Available', async () => {
    const message = 'no endpoints available';
    const [api] = await read({
      apiServices: [apiService('v1', sample, { type: 'Available', status: 'False', message })],
    });
    assert.equal(api?.unavailable, message);
    assert.deepEqual(api.servers, []);
  });
});
