import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { describeError } from '../../src/core/errors.ts';
import { minute } from '../../src/core/instant.ts';
import type { Handler } from './support/api-server.ts';
import { ApiServer, base64, clientOf, sendJson } from './support/api-server.ts';
import { makeAuthority, selfSigned } from './support/certificates.ts';
import { startProxy } from './support/connect-proxy.ts';
import { failureOf, get, never } from './support/requests.ts';
import { withEnvironment } from '../support/environment.ts';

const ok: Handler = (_, response) => {
  sendJson(response, {});
};

describe('openDispatcher() with a proxy', () => {
  it('tunnels with CONNECT, with client certificate and trust end to end', async () => {
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
    it(`reports a proxy that returns ${status} without its password`, async () => {
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

  it('abandons a proxy that does not answer within the time for a connection', async () => {
    await using server = await ApiServer.start(() => {});
    await using proxy = await startProxy(0);
    await using client = await clientOf(server, {
      parts: { cluster: { 'proxy-url': proxy.url } },
      limits: { connectMs: 50 },
    });
    const failure = await failureOf(get(client));
    assert.equal(failure.code, 'API_TIMEOUT');
    assert.match(
      failure.message,
      /through proxy 127\.0\.0\.1:\d+ \(proxy-url\): the connection timed out/,
    );
  });

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

describe('openDispatcher() with two CAs of one subject', () => {
  for (const { keyIds, connections } of [
    // With both CAs, with the first one, and with the second one.
    { keyIds: false, connections: 3 },
    { keyIds: true, connections: 1 },
  ]) {
    it(`verifies a server of the second CA ${keyIds ? 'with' : 'without'} key identifiers`, async () => {
      const other = await makeAuthority('kubernetes', { keyIds });
      const authority = await makeAuthority('kubernetes', { keyIds });
      await using server = await ApiServer.start(ok, { authority });
      await using client = await clientOf(server, {
        parts: { cluster: { 'certificate-authority-data': base64(other.pem + authority.pem) } },
      });
      assert.deepEqual(await get(client), {});
      assert.equal(server.connections, connections);
    });
  }

  it('does not verify a server of a third CA', async () => {
    const names = ['kubernetes', 'kubernetes', 'other'];
    const [first, second, third] = await Promise.all(
      names.map((name) => makeAuthority(name, { keyIds: false })),
    );
    assert.ok(first && second && third);
    const stranger = await makeAuthority('kubernetes', { keyIds: false });
    await using server = await ApiServer.start(ok, { authority: stranger });
    await using client = await clientOf(server, {
      parts: {
        cluster: { 'certificate-authority-data': base64(first.pem + second.pem + third.pem) },
      },
    });
    assert.equal((await failureOf(get(client))).code, 'API_UNTRUSTED');
    // The bundle, and each CA of the ambiguous subject.
    assert.equal(server.connections, 3);
  });
});

/** A server under a name that only a proxy knows: loopback addresses are never proxied. */
async function startNamedServer(): Promise<ApiServer> {
  const authority = await makeAuthority('ca');
  const pair = await authority.issue({
    commonName: 'api',
    usages: ['server auth'],
    dnsNames: ['api.example.invalid'],
  });
  return ApiServer.start(ok, { authority, pair });
}

function named(server: ApiServer): { readonly server: string } {
  return { server: `https://api.example.invalid:${server.port}` };
}

describe('openDispatcher() with HTTPS_PROXY', () => {
  it('tunnels to the server through the proxy', async () => {
    await using server = await startNamedServer();
    await using proxy = await startProxy();
    using _ = withEnvironment({ HTTPS_PROXY: proxy.url, NO_PROXY: '' });
    await using client = await clientOf(server, { parts: { cluster: named(server) } });
    assert.deepEqual(await get(client), {});
    assert.deepEqual(proxy.seen, [
      `api.example.invalid:${server.port} Basic ${base64('user:pa:ss')}`,
    ]);
  });

  it('connects directly to a server in NO_PROXY', async () => {
    await using server = await startNamedServer();
    await using proxy = await startProxy();
    using _ = withEnvironment({ HTTPS_PROXY: proxy.url, NO_PROXY: '.example.invalid' });
    await using client = await clientOf(server, { parts: { cluster: named(server) } });
    const failure = await failureOf(get(client));
    assert.match(describeError(failure), /ENOTFOUND|EAI_AGAIN/);
    assert.doesNotMatch(failure.message, /through proxy/);
    assert.deepEqual(proxy.seen, []);
  });

  it('prefers proxy-url over the environment', async () => {
    await using server = await startNamedServer();
    await using proxy = await startProxy();
    using _ = withEnvironment({ HTTPS_PROXY: 'http://127.0.0.1:9', NO_PROXY: '*' });
    await using client = await clientOf(server, {
      parts: { cluster: { ...named(server), 'proxy-url': proxy.url } },
    });
    assert.deepEqual(await get(client), {});
    assert.equal(proxy.seen.length, 1);
  });

  it('names the proxy, its variable and NO_PROXY when the proxy does not respond', async () => {
    await using server = await startNamedServer();
    using _ = withEnvironment({ HTTPS_PROXY: 'http://user:pass@127.0.0.1:9', NO_PROXY: '' });
    await using client = await clientOf(server, { parts: { cluster: named(server) } });
    const failure = await failureOf(get(client));
    assert.equal(failure.code, 'API_UNREACHABLE');
    assert.match(
      describeError(failure),
      /through proxy 127\.0\.0\.1:9 \(HTTPS_PROXY\): .*ECONNREFUSED/,
    );
    assert.match(
      failure.remedy ?? '',
      /^Check that the proxy 127\.0\.0\.1:9 \(HTTPS_PROXY\) runs .* add api\.example\.invalid to NO_PROXY$/,
    );
    assert.doesNotMatch(describeError(failure), /pass/);
  });

  it('rejects a variable that is not the URL of a proxy', async () => {
    await using server = await startNamedServer();
    using _ = withEnvironment({ HTTPS_PROXY: 'socks5://127.0.0.1:9', NO_PROXY: '' });
    const failure = await failureOf(clientOf(server, { parts: { cluster: named(server) } }));
    assert.equal(failure.code, 'API_UNREACHABLE');
    assert.match(failure.remedy ?? '', /systemctl edit nodecertd/);
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

  it('accepts an intermediate authority as the end of a chain, as Go does', async () => {
    await using server = await ApiServer.start(ok);
    const root = await makeAuthority('root');
    const intermediate = await root.certifyAuthority(server.authority);
    await using client = await clientOf(server, {
      parts: { cluster: { 'certificate-authority-data': base64(intermediate) } },
    });
    assert.deepEqual(await get(client), {});
  });

  it('sends and verifies tls-server-name instead of the address', async () => {
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

  it('accepts any certificate with insecure-skip-tls-verify', async () => {
    await using server = await ApiServer.start(ok, { pair: await selfSigned('10.0.0.1') });
    await using client = await clientOf(server, {
      parts: { cluster: { 'certificate-authority-data': '', 'insecure-skip-tls-verify': true } },
    });
    assert.deepEqual(await get(client), {});
  });
});
