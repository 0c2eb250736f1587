import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { machineCollection } from '../../src/approver/machine-collection.ts';
import { readMachines } from '../../src/approver/read-cluster.ts';
import { ApiServer, clientOf, sendJson } from '../kube/support/api-server.ts';

const { signal } = new AbortController();

/** An API server that serves resources of cluster.x-k8s.io, by version. */
async function serverWith(resources: Readonly<Record<string, readonly string[]>>) {
  const versions = Object.keys(resources).map((version) => ({ version }));
  const own = versions.length === 0 ? [] : [{ name: 'cluster.x-k8s.io', versions }];
  const groups = [{ name: 'apps', versions: [{ version: 'v1' }] }, ...own];
  return ApiServer.start((request, response) => {
    const [, , , version = '', collection] = (request.url ?? '').split('/');
    const names = resources[version] ?? [];
    if (collection !== undefined) sendJson(response, { metadata: {}, items: [{}] });
    else if (request.url === '/apis') sendJson(response, { groups });
    else sendJson(response, { resources: names.map((name) => ({ name })) });
  });
}

describe('machineCollection()', () => {
  const cases: readonly (readonly [string, Readonly<Record<string, readonly string[]>>, string])[] =
    [
      ['v1beta2', { v1beta1: ['machines'], v1beta2: ['machines'] }, 'v1beta2'],
      [
        'v1beta1 on an older Cluster API',
        { v1alpha4: ['machines'], v1beta1: ['machines'] },
        'v1beta1',
      ],
      [
        'the version that has Machines, and not only other resources',
        { v1beta2: ['clusters'], v1beta1: ['clusters', 'machines'] },
        'v1beta1',
      ],
    ];
  for (const [title, resources, version] of cases) {
    it(`finds ${title}`, async () => {
      await using server = await serverWith(resources);
      await using client = await clientOf(server);
      assert.equal(
        await machineCollection(client, signal),
        `/apis/cluster.x-k8s.io/${version}/machines`,
      );
    });
  }

  for (const [title, resources] of [
    ['without the group', {}],
    ['without Machines', { v1beta2: ['clusters'] }],
    ['with an unknown version only', { v1gamma: ['machines'] }],
  ] as const) {
    it(`says how to name the management cluster, ${title}`, async () => {
      await using server = await serverWith(resources);
      await using client = await clientOf(server);
      await assert.rejects(machineCollection(client, signal), {
        code: 'API_NOT_FOUND',
        message: `the API server ${client.access.cluster.server} has no Machines of cluster.x-k8s.io in version v1beta2 or v1beta1`,
        remedy: /sources\.machine\.kubeconfig/,
      });
    });
  }
});

describe('readMachines()', () => {
  it('reads the version that machineCollection() finds', async () => {
    await using server = await serverWith({ v1beta1: ['machines'] });
    await using client = await clientOf(server);
    assert.equal((await readMachines(client, signal)).length, 1);
    assert.equal(server.requests.at(-1)?.url, '/apis/cluster.x-k8s.io/v1beta1/machines?limit=100');
  });
});
