import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingHttpHeaders, RequestOptions } from 'node:http';
import { request } from 'node:http';
import type { Socket } from 'node:net';
import { connect, createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { AgentError } from '../../src/core/errors.ts';
import { minute } from '../../src/core/instant.ts';
import type { AgentStatus } from '../../src/core/status.ts';
import { AgentMetrics } from '../../src/metrics/agent-metrics.ts';
import type { Health } from '../../src/metrics/health.ts';
import type { MetricsServer, ServerLimits } from '../../src/metrics/server.ts';
import { defaultLimits, startMetricsServer } from '../../src/metrics/server.ts';
import { parseExposition } from './exposition.ts';
import { agent, client, now, server } from './fixtures.ts';

interface Setup {
  readonly status?: () => AgentStatus;
  readonly stuckAt?: string;
  readonly limits?: ServerLimits;
  readonly port?: number;
  readonly host?: string;
}

async function start(setup: Setup = {}): Promise<MetricsServer> {
  const { limits = defaultLimits, stuckAt, host = '127.0.0.1', port = 0 } = setup;
  const status = setup.status ?? (() => agent([client(), server()]));
  const health = (): Health => ({ lastTick: now, stuckAt });
  const metrics = new AgentMetrics({ status, health, kubeletNames: () => false });
  const config = { host, port, kubeletNames: false };
  return await startMetricsServer({ metrics, status, health, config, limits });
}

interface Reply {
  readonly code: number | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

async function ask(base: string, path: string, options: RequestOptions = {}): Promise<Reply> {
  const outgoing = request(`${base}${path}`, { agent: false, ...options });
  outgoing.end();
  const [incoming] = await once(outgoing, 'response');
  return { code: incoming.statusCode, headers: incoming.headers, body: await text(incoming) };
}

describe('startMetricsServer() answers', () => {
  it('/metrics with the exposition and its content type', async () => {
    await using running = await start();
    const { code, headers, body } = await ask(running.url, '/metrics');
    assert.equal(code, 200);
    assert.equal(headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
    const { samples } = parseExposition(body);
    assert.equal(samples.get('nodecertd_certificate_usable{certificate="kubelet-server"}'), 0);
    for (const name of [
      'process_cpu_seconds_total',
      'process_resident_memory_bytes',
      'process_open_fds',
      'process_max_fds',
      'nodejs_heap_size_total_bytes',
      'nodejs_heap_size_used_bytes',
    ]) {
      assert.ok((samples.get(name) ?? 0) > 0, name);
    }
  });

  it('/status with the status as JSON', async () => {
    const status = agent([client(), server()]);
    await using running = await start({ status: () => status });
    const { headers, body } = await ask(running.url, '/status');
    assert.equal(headers['content-type'], 'application/json; charset=utf-8');
    assert.deepEqual(JSON.parse(body), JSON.parse(JSON.stringify(status)));
  });

  it('/ with a page whose policy forbids scripts and resources', async () => {
    await using running = await start();
    const { code, headers, body } = await ask(running.url, '/');
    assert.equal(code, 200);
    assert.equal(headers['content-type'], 'text/html; charset=utf-8');
    assert.match(headers['content-security-policy']?.toString() ?? '', /^default-src 'none';/);
    assert.match(body, /kubectl certificate approve node-csr-abc/);
  });

  it('/healthz and /readyz with 200 or 503', async () => {
    await using dead = await start({ stuckAt: 'inspecting files' });
    assert.equal((await ask(dead.url, '/healthz')).code, 503);
    assert.equal((await ask(dead.url, '/readyz')).code, 503);
    await using well = await start({ status: () => agent([client()]) });
    assert.deepEqual((await ask(well.url, '/healthz')).body, 'ok\n');
    assert.equal((await ask(well.url, '/readyz')).code, 200);
  });

  it('/metrics also with a query', async () => {
    await using running = await start();
    assert.equal((await ask(running.url, '/metrics?node=1')).code, 200);
  });

  for (const path of ['/', '/metrics', '/healthz', '/readyz', '/status', '/nothing']) {
    it(`HEAD ${path} with the headers of GET and no body`, async () => {
      await using running = await start();
      const [head, get] = [
        await ask(running.url, path, { method: 'HEAD' }),
        await ask(running.url, path),
      ];
      assert.equal(head.code, get.code);
      assert.equal(head.headers['content-type'], get.headers['content-type']);
      assert.equal(head.headers['cache-control'], 'no-store');
      assert.equal(get.headers['cache-control'], 'no-store');
      assert.ok(Number(head.headers['content-length']) > 0);
      assert.equal(head.body, '');
    });
  }

  it('unknown paths with 404 and the available paths', async () => {
    await using running = await start();
    for (const path of ['/metricsx', '/metrics/', '//metrics', '/%6detrics', '/favicon.ico']) {
      const { code, body } = await ask(running.url, path);
      assert.equal(code, 404, path);
      assert.match(body, /\/metrics \/healthz \/readyz \/status/);
    }
  });

  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE']) {
    it(`${method} with 405 and the allowed methods`, async () => {
      await using running = await start();
      const { code, headers } = await ask(running.url, '/metrics', { method });
      assert.equal(code, 405);
      assert.equal(headers.allow, 'GET, HEAD');
    });
  }

  it('a foreign host with 421 and without the status', async () => {
    await using running = await start();
    for (const path of ['/status', '/metrics', '/']) {
      const { code, body } = await ask(running.url, path, { headers: { host: 'evil.example' } });
      assert.equal(code, 421);
      assert.doesNotMatch(body, /kubelet|worker/);
    }
    const { code } = await ask(running.url, '/status', { headers: { host: 'WORKER-1:9471' } });
    assert.equal(code, 200, 'the name of the node is its own');
  });

  it('a failing status with 500, and keeps running', async () => {
    let broken = true;
    const status = (): AgentStatus => {
      if (broken) throw new AgentError('INTERNAL', 'no status today');
      return agent([client()]);
    };
    await using running = await start({ status });
    const { code, body } = await ask(running.url, '/metrics');
    assert.deepEqual([code, body], [500, 'no status today\n']);
    broken = false;
    assert.equal((await ask(running.url, '/metrics')).code, 200);
  });
});

/** Everything the server sends until it closes the connection; a reset counts as closing. */
async function untilClosed(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => {});
  if (!socket.closed) await once(socket, 'close');
  return Buffer.concat(chunks).toString();
}

describe('startMetricsServer() withstands', () => {
  const quick: ServerLimits = { connections: 3, requestMs: 100, checkMs: 20 };

  const strangers: readonly (readonly [string, string, RegExp])[] = [
    [
      'headers that never end',
      'GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ',
      /^HTTP\/1.1 408 /,
    ],
    ['silence', '', /^(HTTP\/1.1 408 [^]*)?$/],
    [
      'headers without measure',
      `GET / HTTP/1.1\r\nHost: a\r\nX-Long: ${'x'.repeat(9000)}\r\n\r\n`,
      /^HTTP\/1.1 431 /,
    ],
    ['no host header', 'GET /metrics HTTP/1.1\r\n\r\n', /^HTTP\/1.1 400 /],
    ['something that is not HTTP', '\x16\x03\x01\x02\x00\x01\x00\r\n\r\n', /^HTTP\/1.1 400 /],
    [
      'a body that is announced and never sent',
      'POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9999\r\n\r\n',
      /^HTTP\/1.1 405 /,
    ],
  ];
  for (const [title, sent, expected] of strangers) {
    it(title, async () => {
      await using running = await start({ limits: quick });
      const socket = connect(running.address.port, running.address.host);
      socket.write(sent);
      assert.match(await untilClosed(socket), expected);
      assert.equal((await ask(running.url, '/healthz')).code, 200, 'still answers');
    });
  }

  it('too many connections by closing the excess ones', async () => {
    await using running = await start({ limits: { ...quick, requestMs: minute } });
    const held: Socket[] = [];
    for (let count = 0; count < quick.connections; count += 1) {
      const socket = connect(running.address.port, running.address.host);
      await once(socket, 'connect');
      held.push(socket);
    }
    const beyond = connect(running.address.port, running.address.host);
    assert.equal(await untilClosed(beyond), '');
    const [first] = held;
    assert.ok(first);
    first.write('GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n');
    assert.match(await untilClosed(first), /^HTTP\/1.1 200 OK/);
    assert.equal((await ask(running.url, '/healthz')).code, 200, 'a place is free again');
    for (const socket of held) socket.destroy();
  });

  it('disposal while connections are open', async () => {
    const running = await start();
    const socket = connect(running.address.port, running.address.host);
    const closed = untilClosed(socket);
    socket.write('GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ');
    assert.equal((await ask(running.url, '/healthz')).code, 200, 'both are connected by now');
    await running[Symbol.asyncDispose]();
    await closed;
    await assert.rejects(ask(running.url, '/healthz'), { code: 'ECONNREFUSED' });
  });
});

describe('startMetricsServer() listens', () => {
  it('on a free port for port 0, and reports the port', async () => {
    await using running = await start();
    assert.equal(running.address.host, '127.0.0.1');
    assert.ok(running.address.port > 0);
    assert.equal(running.url, `http://127.0.0.1:${running.address.port}`);
  });

  it('on every address for 0.0.0.0, and says so', async () => {
    await using running = await start({ host: '0.0.0.0' });
    assert.equal(running.listening, `0.0.0.0:${running.address.port}`);
    assert.equal(running.url, `http://127.0.0.1:${running.address.port}`);
    assert.equal((await ask(running.url, '/healthz')).code, 200);
  });

  it('or says how to find the program on the port', async () => {
    const holder = createServer().listen(0, '127.0.0.1');
    await once(holder, 'listening');
    const address = holder.address();
    assert.ok(address !== null && typeof address === 'object');
    const { port } = address;
    await assert.rejects(start({ port }), (error) => {
      assert.ok(error instanceof AgentError);
      assert.equal(error.code, 'METRICS_LISTEN');
      assert.equal(error.message, `cannot serve metrics on 127.0.0.1:${port}`);
      assert.match(String(error.cause), /EADDRINUSE/);
      assert.match(error.remedy ?? '', new RegExp(`ss -ltnp 'sport = :${port}'`));
      return true;
    });
    holder.close();
  });

  it('or says that the address does not belong to this machine', async () => {
    await assert.rejects(start({ host: '192.0.2.1' }), {
      code: 'METRICS_LISTEN',
      remedy: /address of this machine/,
    });
  });
});
