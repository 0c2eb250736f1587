import assert from 'node:assert/strict';
import dns from 'node:dns';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import type { HostPort } from '../../src/core/host-port.ts';
import { minute, second } from '../../src/core/instant.ts';
import { makeAuthority } from '../kube/support/certificates.ts';
import { startProxy } from '../kube/support/connect-proxy.ts';
import { failureOf } from '../kube/support/requests.ts';
import { withEnvironment } from '../support/environment.ts';
import { freePort } from '../support/free-ports.ts';
import {
  discover,
  pinOf,
  requestFor,
  TestCluster,
  tokenOf,
  Trial,
} from './support/test-cluster.ts';

/** A server that accepts connections and never responds. */
async function startSilent(): Promise<Server & AsyncDisposable> {
  const server = createServer((socket) => socket.resume().on('error', () => undefined));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

const at = (port: number): { host: string; port: number } => ({ host: '127.0.0.1', port });

/** A cluster whose server has the name api.test. */
async function startNamed(): Promise<TestCluster> {
  const authority = await makeAuthority('kubernetes');
  const pair = await authority.issue({
    commonName: 'api',
    usages: ['server auth'],
    dnsNames: ['api.test'],
  });
  const cluster = await TestCluster.start({ authority, pair });
  cluster.named = `https://api.test:${cluster.api.port}`;
  return cluster;
}

function nameOf(cluster: TestCluster): HostPort {
  return { host: 'api.test', port: cluster.api.port };
}

/** Replaces the resolver of this process, because a test cannot add a name to the machine. */
function resolveTo(context: TestContext, ...addresses: readonly string[]): void {
  const found = addresses.map((address) => ({ address, family: 4 }));
  const lookup = (_: string, __: unknown, callback: (...result: unknown[]) => void): void =>
    callback(null, found);
  context.mock.method(dns, 'lookup', lookup);
}

describe('discoverCluster() with several endpoints', () => {
  it('uses the second at once if the first refuses connections', async () => {
    await using cluster = await TestCluster.start();
    const dead = at(await freePort());
    const trial = new Trial(requestFor(cluster, { endpoints: [dead, cluster.endpoint] }));
    const found = await trial.result;
    assert.equal(found.server, cluster.api.url);
    assert.deepEqual(found.warnings, [
      `endpoint not used: 127.0.0.1:${dead.port}: connection refused`,
    ]);
    assert.deepEqual(trial.lines, [
      `127.0.0.1:${dead.port}: connection refused; next attempt in 5s`,
    ]);
    assert.equal(trial.clock.sleeping, 0);
  });

  it('starts the second after 3 s if the first does not answer', async () => {
    await using cluster = await TestCluster.start();
    const silent = await startSilent();
    const { port } = silent.address() as AddressInfo;
    const trial = new Trial(requestFor(cluster, { endpoints: [at(port), cluster.endpoint] }));
    await once(silent, 'connection');
    await trial.clock.advance(3 * second - 1);
    assert.equal(cluster.reads, 0);
    await trial.clock.advance(1);
    const found = await trial.result;
    assert.deepEqual(found.warnings, [`endpoint not used: 127.0.0.1:${port}: no response yet`]);
    silent.close();
    await once(silent, 'close');
  });

  it('reports the first if it belongs to another cluster', async () => {
    await using cluster = await TestCluster.start();
    await using other = await TestCluster.start();
    const { warnings } = await discover(cluster, {
      endpoints: [other.endpoint, cluster.endpoint],
    });
    assert.equal(warnings.length, 1);
    assert.match(
      warnings[0] ?? '',
      /^endpoint not used: 127\.0\.0\.1:\d+: no CA of the cluster is pinned/,
    );
    assert.deepEqual(other.credentials, []);
  });

  it('throws the gravest error with a line for each endpoint', async () => {
    await using web = await TestCluster.start();
    await using other = await TestCluster.start();
    web.respond = (_, response) => response.end();
    const { pem } = await makeAuthority('pinned');
    const endpoints = [web.endpoint, other.endpoint];
    const failure = await failureOf(discover(other, { endpoints, pins: [pinOf(pem)] }));
    assert.equal(failure.code, 'CLUSTER_UNTRUSTED');
    const lines = failure.message.split('\n');
    assert.equal(lines[0], 'no endpoint leads to the cluster');
    assert.match(
      lines[1] ?? '',
      new RegExp(`^  127.0.0.1:${web.endpoint.port}: not a Kubernetes API server`),
    );
    assert.match(
      lines[2] ?? '',
      new RegExp(`^  127.0.0.1:${other.endpoint.port}: no CA of the cluster is pinned`),
    );
    assert.match(failure.remedy ?? '', /openssl x509/);
  });

  it('lists every dead endpoint at the timeout', async () => {
    await using cluster = await TestCluster.start();
    const [one, two] = [at(await freePort()), at(await freePort())];
    const trial = new Trial(requestFor(cluster, { endpoints: [one, two], timeoutMs: minute }));
    const failure = failureOf(trial.result);
    while (trial.lines.length < 2) await trial.line();
    await trial.clock.advance(minute);
    const { code, message } = await failure;
    assert.equal(code, 'API_UNREACHABLE');
    const lines = [one, two].map(
      ({ port }) => `  127.0.0.1:${port}: connection refused; gave up after 1m`,
    );
    assert.deepEqual(message.split('\n'), ['no endpoint leads to the cluster', ...lines]);
  });
});

describe('discoverCluster()', () => {
  it('connects to an IPv6 address', async () => {
    const authority = await makeAuthority('kubernetes');
    const pair = await authority.issue({
      commonName: 'api',
      usages: ['server auth'],
      ips: ['::1'],
    });
    await using cluster = await TestCluster.start({ authority, pair, address: '::1' });
    const endpoint = { host: '::1', port: cluster.api.port };
    cluster.named = `https://[::1]:${endpoint.port}`;
    const found = await discover(cluster, { endpoints: [endpoint] });
    assert.equal(found.server, `https://[::1]:${endpoint.port}`);
  });

  it('tries each address of a name', async (context) => {
    await using cluster = await startNamed();
    // Nothing listens on the first address.
    resolveTo(context, '127.0.0.2', '127.0.0.1');
    const found = await discover(cluster, { endpoints: [nameOf(cluster)] });
    assert.equal(found.server, cluster.named);
  });

  it('ignores HTTPS_PROXY', async (context) => {
    await using cluster = await startNamed();
    await using proxy = await startProxy();
    using _ = withEnvironment({ HTTPS_PROXY: proxy.url, NO_PROXY: '' });
    resolveTo(context, '127.0.0.1');
    await discover(cluster, { endpoints: [nameOf(cluster)] });
    assert.deepEqual(proxy.seen, []);
  });

  it('sends everything through the proxy of the request', async () => {
    await using cluster = await startNamed();
    await using proxy = await startProxy();
    const endpoints = [nameOf(cluster)];
    const found = await discover(cluster, { endpoints, proxyUrl: proxy.url });
    assert.equal(found.server, cluster.named);
    assert.equal(proxy.seen.length, 3);
    const token = tokenOf('abcdef.fedcba9876543210');
    const failure = await failureOf(discover(cluster, { endpoints, proxyUrl: proxy.url, token }));
    assert.match(failure.message, /\(subject CN=api, issuer CN=kubernetes\)$/);
  });

  it('abandons a proxy that does not respond', async () => {
    await using cluster = await TestCluster.start();
    const silent = await startSilent();
    const { port } = silent.address() as AddressInfo;
    const proxyUrl = `http://127.0.0.1:${port}`;
    const trial = new Trial(requestFor(cluster, { proxyUrl }));
    await once(silent, 'connection');
    await trial.clock.advance(10 * second);
    await trial.line();
    assert.match(
      trial.lines[0] ?? '',
      new RegExp(`: no complete response within 10s \\(through the proxy 127.0.0.1:${port}\\)`),
    );
    trial.cancel();
    assert.equal((await failureOf(trial.result)).code, 'ABORTED');
    silent.close();
    await once(silent, 'close');
  });

  it('explains a certificate behind a proxy', async () => {
    await using cluster = await startNamed();
    await using pinned = await TestCluster.start();
    await using proxy = await startProxy();
    cluster.bundle = [pinned.authority.pem, cluster.authority.pem];
    const endpoints = [nameOf(cluster)];
    const request = { ...requestFor(pinned), endpoints, proxyUrl: proxy.url };
    const failure = await failureOf(new Trial(request).result);
    assert.match(
      failure.message,
      /: the certificate of the server was issued by .*, which is not pinned/,
    );
    assert.deepEqual(cluster.credentials, []);
  });

  it('throws ABORTED when its signal fires', async () => {
    await using cluster = await TestCluster.start();
    cluster.respond = () => undefined;
    const trial = new Trial(requestFor(cluster));
    while (cluster.reads === 0) await trial.clock.advance(0);
    trial.cancel();
    assert.equal((await failureOf(trial.result)).code, 'ABORTED');
    assert.equal(trial.clock.sleeping, 0);
  });
});
