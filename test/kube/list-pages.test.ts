import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as v from 'valibot';
import { listPages } from '../../src/kube/list-pages.ts';
import { ApiServer, clientOf, sendJson } from './support/api-server.ts';

const { signal } = new AbortController();
const schema = v.number();

/** A server with 100 numbers, some of them in objects that are long. */
async function numbers(isLong: (number: number) => boolean): Promise<ApiServer> {
  return ApiServer.start((request, response) => {
    const query = new URL(request.url ?? '', 'https://x').searchParams;
    const start = Number(query.get('continue') ?? 0);
    const end = Math.min(start + Number(query.get('limit')), 100);
    const items = Array.from({ length: end - start }, (_, index) => start + index);
    const padding = ' '.repeat(600 * items.filter(isLong).length);
    const metadata = { resourceVersion: '7', ...(end < 100 && { continue: String(end) }) };
    sendJson(response, { metadata: { ...metadata, padding }, items });
  });
}

/** The numbers, and the limits that were requested. */
async function read(isLong: (number: number) => boolean): Promise<{
  readonly found: readonly number[];
  readonly limits: readonly string[];
}> {
  await using server = await numbers(isLong);
  await using client = await clientOf(server);
  const found: number[] = [];
  const options = { client: () => client, path: '/numbers', schema, limit: 40, signal };
  for await (const { items, resourceVersion } of listPages({ ...options, bodyBytes: 1_000 })) {
    assert.equal(resourceVersion, '7');
    found.push(...items);
  }
  const limits = server.requests.map(({ url }) => new URL(url, 'https://x').searchParams);
  return { found, limits: limits.map((query) => query.get('limit') ?? '') };
}

const all = Array.from({ length: 100 }, (_, number) => number);

describe('listPages()', () => {
  it('reads every page', async () => {
    assert.deepEqual(await read(() => false), { found: all, limits: ['40', '40', '40'] });
  });

  it('reads shorter pages where objects are long, and longer ones afterwards', async () => {
    const { found, limits } = await read((number) => number === 1 || number === 2);
    assert.deepEqual(found, all);
    assert.deepEqual(limits, ['40', '5', '1', '2', '1', '2', '4', '8', '16', '32', '40']);
  });

  it('fails if one object is too long', async () => {
    await using server = await ApiServer.start((_, response) => {
      sendJson(response, { metadata: {}, items: [], padding: ' '.repeat(2_000) });
    });
    await using client = await clientOf(server);
    const options = { client: () => client, path: '/numbers', schema, limit: 40, signal };
    const pages = listPages({ ...options, bodyBytes: 1_000 });
    await assert.rejects(pages.next(), { code: 'API_BAD_RESPONSE' });
    assert.equal(server.requests.length, 3);
  });

  it('reads the columns and the metadata of a table', async () => {
    const rows = [{ cells: ['node-1', 'Ready', 3], object: { metadata: { name: 'node-1' } } }];
    const columnDefinitions = ['Name', 'Status', 'Age'].map((name) => ({ name }));
    await using server = await ApiServer.start(({ headers }, response) => {
      assert.equal(headers.accept, 'application/json;as=Table;v=v1;g=meta.k8s.io');
      sendJson(response, { metadata: { resourceVersion: '7' }, columnDefinitions, rows });
    });
    await using client = await clientOf(server);
    const options = { client: () => client, path: '/nodes', asTable: true, limit: 40, signal };
    const { value } = await listPages({ ...options, schema: v.unknown() }).next();
    assert.deepEqual(value, {
      resourceVersion: '7',
      items: [
        {
          cells: { Name: 'node-1', Status: 'Ready', Age: 3 },
          object: { metadata: { name: 'node-1' } },
        },
      ],
      isLast: true,
    });
  });

  it('fails if the response is not a table', async () => {
    await using server = await ApiServer.start((_, response) => {
      sendJson(response, { kind: 'Table', metadata: {}, rows: 3 });
    });
    await using client = await clientOf(server);
    const options = { client: () => client, path: '/nodes', asTable: true, limit: 1, signal };
    const pages = listPages({ ...options, schema: v.unknown() });
    await assert.rejects(pages.next(), { code: 'API_BAD_RESPONSE' });
  });
});
