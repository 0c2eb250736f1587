import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readCluster } from '../../src/approver/read-cluster.ts';
import { ApiServer, clientOf, sendJson } from '../kube/support/api-server.ts';

const { signal } = new AbortController();
const service = '/api/v1/namespaces/default/services/kubernetes';
const absent = {
  kind: 'Status',
  apiVersion: 'v1',
  status: 'Failure',
  reason: 'NotFound',
  code: 404,
};

describe('readCluster()', () => {
  it('reads every page of every collection, and selects what the checks use', async () => {
    await using server = await ApiServer.start((request, response) => {
      const { searchParams, pathname } = new URL(request.url ?? '', 'https://x');
      const isFirst = pathname === '/api/v1/nodes' && !searchParams.has('continue');
      if (pathname === service) sendJson(response, { pathname });
      else {
        sendJson(response, {
          metadata: isFirst ? { continue: 'more' } : {},
          items: [{ pathname }],
        });
      }
    });
    await using client = await clientOf(server);
    const found = await readCluster(client, signal);
    assert.deepEqual(
      found.map(({ kind }) => kind),
      ['CertificateSigningRequest', 'Node', 'Node', 'ServiceCIDR', 'EndpointSlice', 'Service'],
    );
    assert.deepEqual(found.at(-1)?.value, { pathname: service });
    const urls = server.requests.map(({ url }) => decodeURIComponent(url));
    assert.ok(
      urls.some((url) =>
        url.includes('?fieldSelector=spec.signerName=kubernetes.io/kubelet-serving&'),
      ),
    );
    assert.ok(urls.includes(service));
    assert.ok(
      urls.some((url) => url.includes('?labelSelector=kubernetes.io/service-name=kubernetes&')),
    );
    assert.ok(urls.includes('/api/v1/nodes?limit=100&continue=more'));
  });

  it('does without ServiceCIDRs on an API server that does not have them', async () => {
    await using server = await ApiServer.start((request, response) => {
      if (request.url?.includes('servicecidrs') === true) sendJson(response, absent, 404);
      else sendJson(response, { metadata: {}, items: [] });
    });
    await using client = await clientOf(server);
    const kinds = (await readCluster(client, signal)).map(({ kind }) => kind);
    assert.deepEqual(kinds, ['Service']);
  });

  it('fails if the API server does not allow one of the requests', async () => {
    const forbidden = { ...absent, reason: 'Forbidden', message: 'no', code: 403 };
    for (const path of ['/nodes', service]) {
      await using server = await ApiServer.start((request, response) => {
        if (request.url?.includes(path) === true) sendJson(response, forbidden, 403);
        else sendJson(response, { metadata: {}, items: [] });
      });
      await using client = await clientOf(server);
      await assert.rejects(readCluster(client, signal), { code: 'API_FORBIDDEN' });
    }
  });
});
