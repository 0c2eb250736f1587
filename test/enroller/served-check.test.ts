import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo, Server } from 'node:net';
import { createServer as createTcpServer } from 'node:net';
import { describe, it } from 'node:test';
import type { TlsOptions } from 'node:tls';
import { createSecureContext, createServer } from 'node:tls';
import { second } from '../../src/core/instant.ts';
import type { EndpointState, ServedOutcome } from '../../src/core/served.ts';
import type { ServedCheckOptions } from '../../src/enroller/served-check.ts';
import { checkServed } from '../../src/enroller/served-check.ts';
import { parsePair } from '../../src/store/pair-file.ts';
import { systemClock } from '../../src/sys/clock.ts';
import type { TestPair } from '../store/pairs.ts';
import { makePair, secretOf } from '../store/pairs.ts';

interface TestServer extends AsyncDisposable {
  readonly port: number;
  readonly server: Server;
  readonly connections: () => number;
}

async function listen(server: Server, host: string): Promise<TestServer> {
  let connections = 0;
  const sockets = new Set<{ destroy(): void }>();
  server.on('connection', (socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on('error', () => undefined);
  });
  server.listen(0, host);
  await once(server, 'listening');
  return {
    server,
    port: (server.address() as AddressInfo).port,
    connections: () => connections,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Serves a pair over TLS on loopback; `use` replaces it. */
async function serve(
  pair: TestPair,
  options: TlsOptions = {},
  host = '127.0.0.1',
): Promise<TestServer & { readonly use: (pair: TestPair) => void; readonly received: string[] }> {
  const received: string[] = [];
  const server = createServer({ ...contextOf(pair), ...options }, (socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (data) => received.push(data.toString()));
  });
  server.on('tlsClientError', () => undefined);
  const listening = await listen(server, host);
  return { ...listening, received, use: (next) => server.setSecureContext(contextOf(next)) };
}

function contextOf(pair: TestPair): { readonly cert: Buffer; readonly key: Buffer } {
  return { cert: pair.certificatePem, key: pair.keyPem };
}

/** Checks whether the endpoints serve the pair on disk. */
async function check(
  pair: TestPair,
  endpoints: readonly (readonly [host: string, port: number])[],
  options: Partial<ServedCheckOptions> & { readonly serverName?: string } = {},
): Promise<ServedOutcome> {
  const { facts, leaf } = await parsePair(secretOf(pair), 'the pair');
  const { serverName } = options;
  return checkServed({
    served: {
      endpoints: endpoints.map(([host, port]) => ({ name: `${host}:${port}`, host, port })),
      ...(serverName !== undefined && { serverName }),
    },
    serial: pair.serial,
    withinMs: 0,
    pair: async () => ({ facts: { ...facts, path: '/pki/pair.pem', storedAt: 0 }, leaf }),
    clock: systemClock,
    signal: new AbortController().signal,
    ...options,
  });
}

function statesOf(outcome: ServedOutcome): readonly EndpointState['state'][] {
  assert.equal(outcome.kind, 'checked', JSON.stringify(outcome));
  return outcome.kind === 'checked' ? outcome.endpoints.map(({ state }) => state) : [];
}

function reasonOf(outcome: ServedOutcome): string {
  const [first] = outcome.kind === 'checked' ? outcome.endpoints : [];
  return first?.state === 'unreachable' ? first.reason : JSON.stringify(outcome);
}

describe('checkServed()', () => {
  it('reports current endpoints, by address and by name', async () => {
    const pair = await makePair({ selfSigned: true });
    await using v4 = await serve(pair);
    await using v6 = await serve(pair, {}, '::1');
    const outcome = await check(pair, [
      ['127.0.0.1', v4.port],
      ['localhost', v4.port],
      ['::1', v6.port],
    ]);
    assert.deepEqual(statesOf(outcome), ['current', 'current', 'current']);
    assert.deepEqual([...v4.received, ...v6.received], []);
  });

  it('reports a different served certificate', async () => {
    const [onDisk, old] = [await makePair(), await makePair()];
    await using server = await serve(old);
    const outcome = await check(onDisk, [['127.0.0.1', server.port]]);
    const { facts } = await parsePair(secretOf(old), 'the pair');
    assert.deepEqual(outcome, {
      kind: 'checked',
      endpoints: [
        {
          endpoint: `127.0.0.1:${server.port}`,
          state: 'other',
          serial: facts.serial,
          notAfter: facts.notAfter,
        },
      ],
    });
  });

  it('waits for a slow server, and checks no current endpoint again', async () => {
    const [onDisk, old] = [await makePair(), await makePair()];
    await using quick = await serve(onDisk);
    await using slow = await serve(old);
    setTimeout(() => slow.use(onDisk), 600);
    const startedAt = performance.now();
    const endpoints = [quick, slow].map(({ port }) => ['127.0.0.1', port] as const);
    const outcome = await check(onDisk, endpoints, { withinMs: 20 * second });
    assert.deepEqual(statesOf(outcome), ['current', 'current']);
    assert.ok(performance.now() - startedAt < 10 * second);
    assert.equal(quick.connections(), 1);
    assert.ok(slow.connections() >= 3);
  });

  it('stops after the grace period, with a last check', async () => {
    const [onDisk, old] = [await makePair(), await makePair()];
    await using server = await serve(old);
    const startedAt = performance.now();
    const endpoints = [['127.0.0.1', server.port] as const];
    assert.deepEqual(statesOf(await check(onDisk, endpoints, { withinMs: second })), ['other']);
    const passed = performance.now() - startedAt;
    assert.ok(passed >= 990 && passed < 8 * second, `${passed} ms`);
  });

  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    it(`reads a server that requires a client certificate (${maxVersion})`, async () => {
      const pair = await makePair();
      const ca = pair.certificatePem;
      const options = { requestCert: true, rejectUnauthorized: true, ca, maxVersion };
      await using server = await serve(pair, options);
      assert.deepEqual(statesOf(await check(pair, [['127.0.0.1', server.port]])), ['current']);
    });
  }

  it('sends the host or the configured name, and no address, as SNI', async () => {
    const [plain, named] = [await makePair(), await makePair()];
    const asked: string[] = [];
    await using server = await serve(plain, {
      SNICallback: (name, done) => {
        asked.push(name);
        done(null, createSecureContext(contextOf(named)));
      },
    });
    const byAddress = [['127.0.0.1', server.port] as const];
    assert.deepEqual(statesOf(await check(plain, byAddress)), ['current']);
    assert.deepEqual(statesOf(await check(named, [['localhost', server.port]])), ['current']);
    const serverName = 'worker-1';
    assert.deepEqual(statesOf(await check(named, byAddress, { serverName })), ['current']);
    assert.deepEqual(asked, ['localhost', 'worker-1']);
  });

  it('reports why an endpoint presents no certificate', async () => {
    const pair = await makePair();
    await using gone = await serve(pair);
    await gone[Symbol.asyncDispose]();
    assert.match(reasonOf(await check(pair, [['127.0.0.1', gone.port]])), /ECONNREFUSED/);
    assert.match(reasonOf(await check(pair, [['nowhere.invalid', 443]])), /ENOTFOUND|EAI_AGAIN/);

    await using plain = await listen(
      createTcpServer((socket) => socket.end('HTTP/1.1 400\r\n')),
      '127.0.0.1',
    );
    assert.match(
      reasonOf(await check(pair, [['127.0.0.1', plain.port]])),
      /wrong version number|SSL/,
    );

    await using closing = await listen(
      createTcpServer((socket) => socket.destroy()),
      '127.0.0.1',
    );
    assert.match(
      reasonOf(await check(pair, [['127.0.0.1', closing.port]])),
      /ECONNRESET|disconnected|closed/,
    );
  });

  it('does not wait for a silent server', async () => {
    const pair = await makePair();
    await using silent = await listen(
      createTcpServer(() => undefined),
      '127.0.0.1',
    );
    const options = { handshakeMs: 300 };
    const outcome = await check(pair, [['127.0.0.1', silent.port]], options);
    assert.equal(reasonOf(outcome), 'no TLS handshake within 0.3 s');
  });

  it('returns replaced if the pair on disk changes or disappears', async () => {
    const pair = await makePair();
    await using server = await serve(pair);
    const endpoints = [['127.0.0.1', server.port] as const];
    const none = await check(pair, endpoints, { pair: async () => undefined });
    assert.deepEqual(none, { kind: 'replaced' });
    assert.deepEqual(await check(pair, endpoints, { serial: 'ff' }), { kind: 'replaced' });
    assert.equal(server.connections(), 0);
  });

  it('ends when the signal fires', async () => {
    const [onDisk, old] = [await makePair(), await makePair()];
    await using server = await serve(old);
    const stop = new AbortController();
    const options = { withinMs: 60 * second, signal: stop.signal };
    const checking = check(onDisk, [['127.0.0.1', server.port]], options);
    setTimeout(() => stop.abort(), 100);
    await assert.rejects(checking, { code: 'ABORTED' });
  });
});
