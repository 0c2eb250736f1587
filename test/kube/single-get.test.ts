import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { second } from '../../src/core/instant.ts';
import { servedChain } from '../../src/kube/server-certificate.ts';
import type { SingleGet, SingleResponse } from '../../src/kube/single-get.ts';
import { getOnce } from '../../src/kube/single-get.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { accessTo, ApiServer, sendJson, servingPair } from './support/api-server.ts';
import { makeAuthority } from './support/certificates.ts';
import { failureOf, never } from './support/requests.ts';

async function get(server: ApiServer, parts: Partial<SingleGet> = {}): Promise<SingleResponse> {
  return getOnce({
    access: await accessTo(server),
    path: '/thing?timeout=10s',
    version: '1.2.3',
    clock: systemClock,
    signal: never,
    limitMs: 10 * second,
    bodyBytes: 1024,
    ...parts,
  });
}

const insecure = { 'certificate-authority-data': '', 'insecure-skip-tls-verify': true };

describe('getOnce()', () => {
  it('returns status, headers, body and certificate, and closes its connection', async () => {
    await using server = await ApiServer.start((_, response) => {
      response.setHeader('retry-after', '7');
      sendJson(response, { a: 1 }, 418);
    });
    const response = await get(server);
    assert.equal(response.kind, 'response');
    assert.equal(response.status, 418);
    assert.equal(response.headers['retry-after'], '7');
    assert.equal(response.body.toString(), '{"a":1}');
    assert.equal(response.certificate?.subject, 'CN=api');
    assert.equal(server.requests[0]?.url, '/thing?timeout=10s');
    while (server.open > 0) await new Promise(setImmediate);
  });

  it('follows no redirect', async () => {
    await using server = await ApiServer.start((_, response) => {
      response.writeHead(302, { location: '/other' });
      response.end();
    });
    const response = await get(server);
    assert.equal(response.kind === 'response' && response.status, 302);
    assert.equal(server.requests.length, 1);
  });

  it('returns the certificate that it could not verify', async () => {
    await using server = await ApiServer.start((_, response) => sendJson(response, {}));
    await using other = await ApiServer.start((_, response) => sendJson(response, {}));
    const access = await accessTo(other, { cluster: { server: server.url } });
    const response = await get(server, { access });
    assert.equal(response.kind, 'unverified');
    assert.match(response.code, /^UNABLE_TO_/);
    assert.equal(response.certificate?.issuer, 'CN=test-ca');
    assert.equal(server.requests.length, 0);
  });

  it('returns the chain that the server sends', async () => {
    const authority = await makeAuthority('test-ca');
    const pair = await servingPair(authority);
    await using server = await ApiServer.start((_, response) => sendJson(response, {}), {
      authority,
      pair: { ...pair, cert: pair.cert + authority.pem },
    });
    const access = await accessTo(server, { cluster: insecure });
    const { certificate } = await get(server, { access });
    assert.ok(certificate);
    assert.deepEqual(
      servedChain(certificate).map(({ subject }) => subject),
      ['CN=api', 'CN=test-ca'],
    );
  });

  it('throws API_TIMEOUT at the limit of its clock', async () => {
    await using server = await ApiServer.start((_, response) => void response.write('{'));
    const clock = new FakeClock();
    const failing = failureOf(get(server, { clock }));
    while (server.requests.length === 0) await clock.advance(0);
    await clock.advance(10 * second);
    assert.equal((await failing).code, 'API_TIMEOUT');
  });

  it('throws API_BAD_RESPONSE for a longer body', async () => {
    await using server = await ApiServer.start((_, response) => response.end('x'.repeat(1025)));
    assert.equal((await failureOf(get(server))).code, 'API_BAD_RESPONSE');
  });

  it('throws ABORTED when its signal fires', async () => {
    const abort = new AbortController();
    await using server = await ApiServer.start(() => abort.abort());
    assert.equal((await failureOf(get(server, { signal: abort.signal }))).code, 'ABORTED');
  });
});
