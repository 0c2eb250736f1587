import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect as netConnect } from 'node:net';
import { describe, it } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { describeError } from '../../src/core/errors.ts';
import { minute } from '../../src/core/instant.ts';
import type { Handler } from './support/api-server.ts';
import { ApiServer, base64, clientOf, sendJson } from './support/api-server.ts';
import { makeAuthority, selfSigned } from './support/certificates.ts';
import { failureOf, get, never } from './support/requests.ts';

const ok: Handler = (_, response) => {
  sendJson(response, {});
};

/** A CONNECT proxy as in RFC 9110 9.3.6, which notes what it was asked for. */
async function startProxy(
  answer = 200,
): Promise<AsyncDisposable & { url: string; seen: string[] }> {
  const seen: string[] = [];
  const sockets = new Set<{ destroy(): void }>();
  const proxy = createHttpServer();
  proxy.on('connect', (request, socket) => {
    sockets.add(socket);
    seen.push(`${request.url} ${request.headers['proxy-authorization'] ?? ''}`.trim());
    if (answer !== 200) {
      socket.end(`HTTP/1.1 ${answer} No\r\n\r\n`);
      return;
    }
    const [host, port] = (request.url ?? '').split(':');
    const upstream = netConnect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      upstream.pipe(socket).pipe(upstream);
    });
    sockets.add(upstream);
    for (const end of [socket, upstream]) {
      end.on('error', () => {
        // The other end went away.
      });
    }
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  return {
    seen,
    url: `http://user:pa%3Ass@127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      proxy.close();
      await once(proxy, 'close');
    },
  };
}

describe('openDispatcher() with a proxy', () => {
  it('tunnels with CONNECT, and keeps client certificate and trust end to end', async () => {
    const authority = await makeAuthority('ca');
    await using server = await ApiServer.start(
      (request, response) => {
        sendJson(response, {
          CN: (request.socket as TLSSocket).getPeerCertificate().subject.CN,
        });
      },
      { authority, tls: { ca: authority.pem, requestCert: true } },
    );
    await using proxy = await startProxy();
    const pair = await authority.issue({ commonName: 'node', usages: ['client auth'] });
    await using client = await clientOf(server, {
      parts: {
        cluster: { 'proxy-url': proxy.url },
        user: {
          'client-certificate-data': base64(pair.cert),
          'client-key-data': base64(pair.key),
        },
      },
    });
    assert.deepEqual(await get(client), { CN: 'node' });
    assert.deepEqual(proxy.seen, [`127.0.0.1:${server.port} Basic ${base64('user:pa:ss')}`]);
    const stranger = await ApiServer.start(() => {}, { pair: await selfSigned('127.0.0.1') });
    await using suspicious = await clientOf(stranger, {
      parts: { cluster: { 'proxy-url': proxy.url } },
    });
    assert.equal((await failureOf(get(suspicious))).code, 'API_UNTRUSTED');
    await stranger[Symbol.asyncDispose]();
  });

  for (const status of [407, 502]) {
    it(`reports a proxy that answers ${status} without showing its password`, async () => {
      await using server = await ApiServer.start(() => {});
      await using proxy = await startProxy(status);
      await using client = await clientOf(server, {
        parts: { cluster: { 'proxy-url': proxy.url } },
      });
      const failure = await failureOf(get(client));
      assert.equal(failure.code, 'API_UNREACHABLE');
      assert.match(describeError(failure), new RegExp(`through proxy 127.0.0.1:.*${status}`));
      assert.doesNotMatch(describeError(failure), /pa%3Ass|pa:ss/);
    });
  }

  it('closes while a watch is open through the proxy', async () => {
    await using server = await ApiServer.start((_, response) => {
      response.writeHead(200).write('{}\n');
    });
    await using proxy = await startProxy();
    const client = await clientOf(server, { parts: { cluster: { 'proxy-url': proxy.url } } });
    const stream = client.stream({ path: '/things', limitMs: minute, signal: never });
    await stream.next();
    const closing = client.close();
    assert.equal((await failureOf(stream.next())).code, 'ABORTED');
    await closing;
  });
});

describe('openDispatcher() trust', () => {
  it('trusts any authority of a bundle', async () => {
    await using server = await ApiServer.start(ok);
    const other = await makeAuthority('other');
    await using client = await clientOf(server, {
      parts: {
        cluster: { 'certificate-authority-data': base64(other.pem + server.authority.pem) },
      },
    });
    assert.deepEqual(await get(client), {});
  });

  it('compares and sends tls-server-name instead of the address', async () => {
    const authority = await makeAuthority('ca');
    const pair = await authority.issue({
      commonName: 'api',
      usages: ['server auth'],
      dnsNames: ['api.example.com'],
    });
    const names: unknown[] = [];
    await using server = await ApiServer.start(
      (request, response) => {
        names.push((request.socket as TLSSocket).servername);
        sendJson(response, {});
      },
      { authority, pair },
    );
    await using client = await clientOf(server, {
      parts: { cluster: { 'tls-server-name': 'api.example.com' } },
    });
    assert.deepEqual(await get(client), {});
    assert.deepEqual(names, ['api.example.com']);
  });

  it('takes any certificate with insecure-skip-tls-verify', async () => {
    await using server = await ApiServer.start(ok, { pair: await selfSigned('10.0.0.1') });
    await using client = await clientOf(server, {
      parts: { cluster: { 'certificate-authority-data': '', 'insecure-skip-tls-verify': true } },
    });
    assert.deepEqual(await get(client), {});
  });
});
