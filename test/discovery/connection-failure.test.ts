import assert from 'node:assert/strict';
import dns from 'node:dns';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import type { Server } from 'node:net';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import { AgentError } from '../../src/core/errors.ts';
import { connectionFailure } from '../../src/discovery/connection-failure.ts';
import { unverifiedAccess } from '../../src/discovery/connection.ts';
import type { ClusterAccess } from '../../src/kube/cluster-access.ts';
import { getOnce } from '../../src/kube/single-get.ts';
import { startProxy } from '../kube/support/connect-proxy.ts';
import { failureOf, never } from '../kube/support/requests.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** The error of a GET to this endpoint, as the discovery reports it. */
async function failureAt(host: string, port: number, proxyUrl?: string): Promise<AgentError> {
  const access = accessTo(host, port, proxyUrl);
  const failure = await failureOf(
    getOnce({
      access,
      path: '/',
      version: '1.2.3',
      clock: new FakeClock(),
      signal: never,
      limitMs: 10_000,
      bodyBytes: 1024,
    }),
  );
  return connectionFailure(failure, access);
}

function accessTo(host: string, port: number, proxyUrl?: string): ClusterAccess {
  const server = `https://${host}:${port}`;
  return unverifiedAccess({ server, ...(proxyUrl !== undefined && { proxyUrl }) });
}

async function portOf(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

describe('connectionFailure()', () => {
  it('recognizes a port on which nothing listens', async () => {
    const server = createServer();
    const port = await portOf(server);
    server.close();
    await once(server, 'close');
    const { code, message, remedy } = await failureAt('127.0.0.1', port);
    assert.deepEqual([code, message], ['API_UNREACHABLE', 'connection refused']);
    assert.match(remedy ?? '', new RegExp(`nc -vz 127\\.0\\.0\\.1 ${port}$`));
  });

  it('recognizes a server that closes the connection', async () => {
    await using server = createServer((socket) => socket.destroy());
    const { code, message } = await failureAt('127.0.0.1', await portOf(server));
    assert.deepEqual([code, message], ['API_UNREACHABLE', 'the server closed the connection']);
  });

  it('recognizes a server without TLS', async () => {
    const server = createHttpServer((_, response) => response.end('hello'));
    const port = await portOf(server);
    const { code, message, remedy } = await failureAt('127.0.0.1', port);
    server.close();
    assert.deepEqual(
      [code, message],
      ['API_BAD_RESPONSE', 'not a Kubernetes API server: it does not use TLS'],
    );
    assert.match(remedy ?? '', /usually 6443: 127\.0\.0\.1:6443$/);
  });

  for (const [errno, message] of [
    ['ENOTFOUND', 'the name does not resolve'],
    ['EAI_AGAIN', 'the DNS servers do not answer'],
  ] as const) {
    it(`recognizes ${errno} of the resolver`, async (context) => {
      const error = Object.assign(new Error('getaddrinfo'), { code: errno });
      const lookup = (_: string, __: unknown, callback: (error: Error) => void): void =>
        callback(error);
      context.mock.method(dns, 'lookup', lookup);
      const failure = await failureAt('api.test', 6443);
      assert.deepEqual([failure.code, failure.message], ['API_UNREACHABLE', message]);
      assert.match(failure.remedy ?? '', /getent ahosts api\.test$/);
    });
  }

  for (const [errno, message] of [
    ['EHOSTUNREACH', 'no route to the host'],
    ['ENETUNREACH', 'no route to the host'],
    ['EMFILE', 'the connection failed (EMFILE)'],
  ] as const) {
    it(`recognizes ${errno}`, () => {
      const cause = Object.assign(new Error('connect'), { code: errno });
      const failure = connectionFailure(
        new AgentError('API_UNREACHABLE', 'failed', { cause }),
        accessTo('10.0.0.1', 6443),
      );
      assert.deepEqual([failure.code, failure.message], ['API_UNREACHABLE', message]);
    });
  }

  it('names a proxy that does not run, without its password', async () => {
    const server = createServer();
    const port = await portOf(server);
    server.close();
    await once(server, 'close');
    const proxy = `127.0.0.1:${port}`;
    const { code, message, remedy } = await failureAt('[fd00::1]', 6443, `http://me:pw@${proxy}`);
    assert.deepEqual(
      [code, message],
      ['API_UNREACHABLE', `connection refused (through the proxy ${proxy})`],
    );
    assert.equal(remedy, `Check that the proxy ${proxy} runs and allows CONNECT to [fd00::1]:6443`);
  });

  it('names a proxy that refuses the connection', async () => {
    await using proxy = await startProxy(403);
    const { code, message } = await failureAt('10.0.0.1', 6443, proxy.url);
    assert.equal(code, 'API_UNREACHABLE');
    assert.match(message, /^the connection failed \(.*\) \(through the proxy 127\.0\.0\.1:\d+\)$/);
  });

  it('keeps a cancellation', () => {
    const canceled = new AgentError('ABORTED', 'canceled');
    assert.equal(connectionFailure(canceled, accessTo('10.0.0.1', 6443)), canceled);
  });
});
