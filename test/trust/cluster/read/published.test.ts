import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { describe, it } from 'node:test';
import { Bundles } from '../../../../src/trust/cluster/read/bundles.ts';
import { readNamespaces, readTrustBundles } from '../../../../src/trust/cluster/read/published.ts';
import { reading } from '../../../../src/trust/cluster/read/reading.ts';
import type { PublishedCas, Reading } from '../../../../src/trust/cluster/state.ts';
import { ApiServer, clientOf, sendJson, sendStatus } from '../../../kube/support/api-server.ts';

type Answer = (response: ServerResponse) => void;

/** How an API server answers for a resource that a known version does not have. */
const noResource: Answer = (response) => {
  sendStatus(response, 404, { reason: 'NotFound' });
};

/** How it answers for a version that it does not serve. */
const noVersion: Answer = (response) => {
  response.writeHead(404, { 'content-type': 'text/plain' }).end('404 page not found\n');
};

const bundle: Answer = (response) => {
  const items = [{ metadata: { name: 'bundle' }, spec: { trustBundle: 'no PEM' } }];
  sendJson(response, { metadata: {}, items });
};

async function read(v1: Answer, beta: Answer): Promise<Reading<Map<string, PublishedCas>>> {
  await using server = await ApiServer.start(({ url = '' }, response) => {
    (url.startsWith('/apis/certificates.k8s.io/v1/') ? v1 : beta)(response);
  });
  await using client = await clientOf(server);
  const { signal } = new AbortController();
  return await reading(() => readTrustBundles({ client, signal, bundles: new Bundles() }));
}

const found = {
  outcome: 'read',
  value: new Map([['bundle', { authorities: [], problem: 'no certificate' }]]),
};

/** A list of two pages. The token of the second one is valid at this attempt only. */
async function readUntil(validAt: number): Promise<Reading<string[]>> {
  let lists = 0;
  await using server = await ApiServer.start(({ url = '' }, response) => {
    const isFirst = !url.includes('continue=');
    if (isFirst) lists += 1;
    const items = [{ metadata: { name: isFirst ? 'default' : `list-${lists}` } }];
    if (isFirst) sendJson(response, { metadata: { continue: 'token' }, items });
    else if (lists >= validAt) sendJson(response, { metadata: {}, items });
    else sendStatus(response, 410, { reason: 'Expired' });
  });
  await using client = await clientOf(server);
  const { signal } = new AbortController();
  return await reading(() => readNamespaces({ client, signal }));
}

describe('readNamespaces()', () => {
  it('starts again when the next page has expired, and names nothing twice', async () => {
    assert.deepEqual(await readUntil(3), { outcome: 'read', value: ['default', 'list-3'] });
    await assert.rejects(readUntil(4), { code: 'API_GONE' });
  });
});

describe('readTrustBundles()', () => {
  it('reads v1', async () => {
    assert.deepEqual(await read(bundle, noVersion), found);
  });

  it('reads the beta of an earlier API server', async () => {
    assert.deepEqual(await read(noResource, bundle), found);
  });

  it('finds none on an API server without them', async () => {
    assert.deepEqual(await read(noResource, noResource), { outcome: 'absent' });
    assert.deepEqual(await read(noResource, noVersion), { outcome: 'absent' });
  });

  it('fails on a server that is no API server', async () => {
    await assert.rejects(read(noVersion, noVersion), { code: 'API_BAD_RESPONSE' });
  });
});
