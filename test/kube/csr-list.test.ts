import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { listCsrs } from '../../src/kube/csr-list.ts';
import { ApiServer, base64, clientOf, sendJson } from './support/api-server.ts';

const { signal } = new AbortController();

function item(name: string, status: unknown = {}): unknown {
  return {
    metadata: { name, creationTimestamp: '2026-01-15T00:00:00Z' },
    spec: { request: base64('pem'), signerName: 's', username: 'u' },
    status,
  };
}

function approved(lastUpdateTime?: string): unknown {
  return {
    conditions: [{ type: 'Approved', status: 'True', reason: 'r', message: null, lastUpdateTime }],
  };
}

/** A server with this number of pages of one CSR each. */
async function paged(pages: number): Promise<ApiServer> {
  return ApiServer.start((request, response) => {
    const query = new URL(request.url ?? '', 'https://x').searchParams;
    const page = Number(query.get('continue') ?? 0);
    const metadata = page + 1 < pages ? { continue: String(page + 1) } : {};
    sendJson(response, { metadata, items: [item(`csr-${page}`)] });
  });
}

describe('listCsrs()', () => {
  it('reads all pages and keeps the wanted CSRs', async () => {
    await using server = await paged(3);
    await using client = await clientOf(server);
    const { csrs, truncated } = await listCsrs(client, ({ name }) => name !== 'csr-1', signal);
    assert.deepEqual(
      csrs.map(({ name }) => name),
      ['csr-0', 'csr-2'],
    );
    assert.equal(truncated, false);
    assert.deepEqual(
      server.requests.map(({ url }) => new URL(url, 'https://x').search),
      ['?limit=250', '?limit=250&continue=1', '?limit=250&continue=2'],
    );
  });

  it('stops at the page limit, and reports the list as truncated', async () => {
    await using server = await paged(1000);
    await using client = await clientOf(server);
    const { csrs, truncated } = await listCsrs(client, () => true, signal);
    assert.equal(truncated, true);
    assert.equal(csrs.length, server.requests.length);
    assert.equal(csrs.length, 20);
  });

  it('returns the time of the last condition', async () => {
    await using server = await ApiServer.start((_, response) =>
      sendJson(response, {
        metadata: {},
        items: [
          item('new'),
          item('old', approved()),
          item('now', approved('2026-01-15T01:00:00Z')),
        ],
      }),
    );
    await using client = await clientOf(server);
    const { csrs } = await listCsrs(client, () => true, signal);
    assert.deepEqual(
      csrs.map(({ decidedAt }) => decidedAt),
      [undefined, undefined, Date.UTC(2026, 0, 15, 1)],
    );
    assert.equal(csrs[0]?.createdAt, Date.UTC(2026, 0, 15));
    assert.equal(Buffer.from(csrs[0]?.request ?? []).toString(), 'pem');
  });
});
