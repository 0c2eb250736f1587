import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { describe, it } from 'node:test';
import type { TLSSocket } from 'node:tls';
import * as v from 'valibot';
import type { ApiRequestRecord } from '../../src/core/enroller-protocol.ts';
import { minute, second } from '../../src/core/instant.ts';
import type { KubeClient } from '../../src/kube/rest-client.ts';
import { FakeClock } from '../support/fake-clock.ts';
import type { Handler } from './support/api-server.ts';
import { ApiServer, base64, clientOf, sendJson, sendStatus } from './support/api-server.ts';
import { makeAuthority } from './support/certificates.ts';
import { failureOf, get, never } from './support/requests.ts';

describe('KubeClient.request()', () => {
  it('sends method, path, query, body, token and version, and parses the response', async () => {
    const seen: unknown[] = [];
    await using server = await ApiServer.start((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      request.on('end', () => {
        seen.push(request.method, request.url, JSON.parse(body));
        sendJson(response, { answer: 42, more: true });
      });
    });
    await using client = await clientOf(server, {
      parts: { cluster: { server: `${server.url}/k8s/clusters/c-1/` }, user: { token: 'abc' } },
    });
    const answer = await client.request(
      { verb: 'create', path: '/thing', query: { a: 'b c' }, body: { x: 1 }, signal: never },
      v.object({ answer: v.number() }),
    );
    assert.deepEqual(answer, { answer: 42 });
    assert.deepEqual(seen, ['POST', '/k8s/clusters/c-1/thing?a=b+c', { x: 1 }]);
    const headers = server.requests[0]?.headers;
    assert.equal(headers?.authorization, 'Bearer abc');
    assert.equal(headers['user-agent'], 'nodecertd/1.2.3');
    assert.equal(headers['content-type'], 'application/json');
  });

  const bodies: readonly [string, string][] = [
    ['garbage', '\u0000\u0001 not json'],
    ['truncated JSON', '{"a": [1, 2'],
    ['an empty body', ''],
    ['JSON of another shape', '{"a": "text"}'],
  ];
  for (const [name, body] of bodies) {
    it(`rejects ${name} as API_BAD_RESPONSE`, async () => {
      await using server = await ApiServer.start((_, response) => response.end(body));
      await using client = await clientOf(server);
      const schema = v.object({ a: v.array(v.number()) });
      const failure = await failureOf(
        client.request({ verb: 'get', path: '/thing', signal: never }, schema),
      );
      assert.equal(failure.code, 'API_BAD_RESPONSE');
      assert.doesNotMatch(failure.message, /text|not json/);
    });
  }

  it('ends a body of 64 MiB at the limit', async () => {
    let sent = 0;
    await using server = await ApiServer.start((_, response) => {
      const chunk = Buffer.alloc(64 * 1024, ' ');
      const pump = (): void => {
        while (sent < 64 * 1024 * 1024) {
          sent += chunk.length;
          if (!response.write(chunk)) {
            response.once('drain', pump);
            return;
          }
        }
        response.end();
      };
      pump();
    });
    await using client = await clientOf(server);
    const failure = await failureOf(get(client));
    assert.equal(failure.code, 'API_BAD_RESPONSE');
    assert.match(failure.message, /longer than 4194304 bytes/);
    assert(sent < 32 * 1024 * 1024, `${sent} bytes were sent`);
  });

  it('reports a reset connection, and opens a new one for the next request', async () => {
    await using server = await ApiServer.start((request, response) => {
      if (request.url === '/ok') {
        sendJson(response, {});
        return;
      }
      response.writeHead(200, { 'content-length': 100 });
      response.write('{"a"', () => response.destroy());
    });
    await using client = await clientOf(server);
    assert.equal((await failureOf(get(client))).code, 'API_UNREACHABLE');
    assert.deepEqual(await get(client, '/ok'), {});
    assert.equal(server.connections, 2);
  });

  it('ends a slow response at the deadline, and opens a new connection', async () => {
    const clock = new FakeClock();
    const { promise: dripping, resolve } = Promise.withResolvers<ServerResponse>();
    await using server = await ApiServer.start((request, response) => {
      if (request.url === '/ok') sendJson(response, {});
      else {
        response.writeHead(200).write('{');
        resolve(response);
      }
    });
    await using client = await clientOf(server, { clock });
    const failing = failureOf(get(client));
    const response = await dripping;
    const closed = once(response, 'close');
    for (let drops = 0; drops < 29; drops += 1) {
      response.write(' ');
      await clock.advance(second);
    }
    assert.equal(response.closed, false);
    await clock.advance(second);
    const failure = await failing;
    assert.equal(failure.code, 'API_TIMEOUT');
    assert.match(failure.message, /get \/thing: no complete response within 30 s/);
    await closed;
    assert.deepEqual(await get(client, '/ok'), {});
    assert.equal(server.connections, 2);
  });

  it('throws ABORTED on its signal, before and during the request', async () => {
    const controller = new AbortController();
    await using server = await ApiServer.start(() => {
      controller.abort();
    });
    await using client = await clientOf(server);
    assert.equal((await failureOf(get(client, '/thing', controller.signal))).code, 'ABORTED');
    assert.equal((await failureOf(get(client, '/thing', controller.signal))).code, 'ABORTED');
    assert.equal(server.requests.length, 1);
  });

  it('records each request once, with the status or the code of the failure', async () => {
    const records: ApiRequestRecord[] = [];
    await using server = await ApiServer.start((request, response) => {
      if (request.url === '/cut') response.destroy();
      else if (request.url === '/missing') sendStatus(response, 404);
      else sendJson(response, {});
    });
    await using client = await clientOf(server, { onRequest: (record) => records.push(record) });
    await get(client);
    await failureOf(get(client, '/missing'));
    await failureOf(get(client, '/cut'));
    assert.deepEqual(
      records.map(({ verb, code }) => `${verb} ${code}`),
      ['get 200', 'get 404', 'get API_UNREACHABLE'],
    );
    assert(records.every(({ seconds }) => seconds > 0 && seconds < 10));
  });

  it('reports the time of the server', async () => {
    const dates: number[] = [];
    await using server = await ApiServer.start((_, response) => {
      response.setHeader('date', 'Thu, 01 Jan 2026 00:00:07 GMT');
      sendJson(response, {});
    });
    await using client = await clientOf(server, { onDate: (date) => dates.push(date) });
    await get(client);
    assert.deepEqual(dates, [Date.UTC(2026, 0, 1, 0, 0, 7)]);
  });
});

const whoAmI: Handler = (request, response) => {
  const { subject } = (request.socket as TLSSocket).getPeerCertificate();
  sendJson(response, { CN: subject.CN });
};

async function node(server: ApiServer, name: string): Promise<KubeClient> {
  const pair = await server.authority.issue({ commonName: name, usages: ['client auth'] });
  return clientOf(server, {
    parts: {
      user: {
        'client-certificate-data': base64(pair.cert),
        'client-key-data': base64(pair.key),
      },
    },
  });
}

async function startVerifying(handler: Handler): Promise<ApiServer> {
  const authority = await makeAuthority('ca');
  return ApiServer.start(handler, {
    authority,
    tls: { ca: authority.pem, requestCert: true, rejectUnauthorized: true },
  });
}

describe('KubeClient identity', () => {
  it('presents the client certificate to a server that verifies it', async () => {
    await using server = await startVerifying(whoAmI);
    await using client = await node(server, 'system:node:a');
    assert.deepEqual(await get(client), { CN: 'system:node:a' });
  });

  it('presents the certificate after key and token were wiped', async () => {
    await using server = await startVerifying(whoAmI);
    await using client = await node(server, 'system:node:a');
    client.access[Symbol.dispose]();
    assert.deepEqual(await get(client), { CN: 'system:node:a' });
  });

  it('opens a new connection for a new identity while a request finishes', async () => {
    const { promise: waiting, resolve } = Promise.withResolvers<() => void>();
    await using server = await startVerifying((request, response) => {
      if (request.url === '/slow') {
        resolve(() => {
          whoAmI(request, response);
        });
      } else whoAmI(request, response);
    });
    const old = await node(server, 'old');
    const slow = get(old, '/slow');
    const finish = await waiting;
    const closing = old.close();
    await using fresh = await node(server, 'new');
    assert.deepEqual(await get(fresh), { CN: 'new' });
    assert.equal((await failureOf(get(old))).code, 'ABORTED');
    finish();
    assert.deepEqual(await slow, { CN: 'old' });
    await closing;
    assert.equal(server.connections, 2);
  });

  it('close() ends an open watch', async () => {
    const clock = new FakeClock();
    await using server = await startVerifying((_, response) => {
      response.writeHead(200).write('{}\n');
    });
    const client = await node(server, 'old');
    const stream = client.stream({ path: '/things', limitMs: minute, signal: never });
    await stream.next();
    const [closing, failure] = [client.close(), await failureOf(stream.next())];
    assert.equal(failure.code, 'ABORTED');
    await closing;
    while (server.open > 0) await clock.advance(0);
  });
});
