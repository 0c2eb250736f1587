import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ClusterEndpoint } from '../../../src/kube/cluster-access.ts';
import { systemClock } from '../../../src/sys/clock.ts';
import { readAuthority } from '../../../src/kube/authorities.ts';
import type { DialedServer, ServerDial } from '../../../src/trust/node/servers.ts';
import { dialServers, unverifiedRefusal } from '../../../src/trust/node/servers.ts';
import { derOf } from '../../core/openssl.ts';
import { ApiServer, sendStatus, servingPair } from '../../kube/support/api-server.ts';
import type { Handler } from '../../kube/support/api-server.ts';
import type { Authority } from '../../kube/support/certificates.ts';
import { makeAuthority } from '../../kube/support/certificates.ts';
import { startProxy } from '../../kube/support/connect-proxy.ts';

const unauthorized: Handler = (_, response) => {
  sendStatus(response, 401);
};
const source = { kind: 'file', name: '/etc/ca.crt' } as const;

function dial(
  server: Pick<ApiServer, 'url'>,
  authorities: readonly Pick<Authority, 'pem'>[],
  { resolve, ...cluster }: Partial<ClusterEndpoint> & Pick<ServerDial, 'resolve'> = {},
): Promise<DialedServer[]> {
  return dialServers({
    access: {
      path: '/etc/kubernetes/kubelet.conf',
      cluster: { server: server.url, insecureSkipTlsVerify: true, ...cluster },
    },
    authorities: authorities.map(({ pem }) => readAuthority(derOf(Buffer.from(pem)))),
    version: '1.2.3',
    clock: systemClock,
    signal: AbortSignal.timeout(60_000),
    ...(resolve !== undefined && { resolve }),
  });
}

function kinds(servers: readonly DialedServer[]): string[] {
  return servers.map(({ kind }) => kind);
}

describe('dialServers()', () => {
  it('verifies what the server serves, and returns its chain', async () => {
    const [before, after] = [await makeAuthority('kubernetes'), await makeAuthority('kubernetes')];
    const { cert, key } = await servingPair(after);
    const bridge = await before.certifyAuthority(after);
    await using server = await ApiServer.start(unauthorized, {
      pair: { cert: cert + bridge, key },
    });
    for (const trusted of [[before], [after], [before, after]]) {
      const [dialed] = await dial(server, trusted);
      assert.equal(dialed?.kind, 'verified');
      assert.equal(dialed.address, `127.0.0.1:${server.port}`);
      const [leaf, next] = dialed.chain.map((certificate) => certificate.toString());
      assert.equal(leaf, cert);
      assert.equal(next, bridge);
    }
  });

  it('uses only the CAs that it gets, although the kubeconfig turns verification off', async () => {
    await using server = await ApiServer.start(unauthorized);
    const stranger = await makeAuthority('test-ca');
    const [dialed] = await dial(server, [stranger]);
    assert.equal(dialed?.kind, 'unverified');
    assert.equal(dialed.code, 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY');
    assert.equal(dialed.chain.length, 1);
    assert.deepEqual(server.requests, []);
  });

  it('tries each of two CAs that OpenSSL cannot tell apart', async () => {
    const authority = await makeAuthority('kubernetes', { keyIds: false });
    const other = await makeAuthority('kubernetes', { keyIds: false });
    await using server = await ApiServer.start(unauthorized, { authority });
    assert.deepEqual(kinds(await dial(server, [other, authority])), ['verified']);
    assert.deepEqual(kinds(await dial(server, [other])), ['unverified']);
  });

  it('dials each address of a name, with the name as the server name', async () => {
    const authority = await makeAuthority('kubernetes');
    const pair = await authority.issue({
      commonName: 'api',
      usages: ['server auth'],
      dnsNames: ['api.example.com'],
    });
    await using server = await ApiServer.start(unauthorized, { authority, pair });
    const named = { server: `https://api.example.com:${server.port}` };
    const found = async (...addresses: readonly string[]): Promise<string[]> => {
      const resolve = async () => addresses;
      const dialed = await dial(server, [authority], { ...named, resolve });
      return dialed.map(({ address, kind }) => `${address} ${kind}`);
    };
    const { port } = server;
    assert.deepEqual(await found('127.0.0.1'), [`127.0.0.1:${port} verified`]);
    // Nothing listens there, so it is no API server that is down.
    assert.deepEqual(await found('::1', '127.0.0.1'), [`127.0.0.1:${port} verified`]);
    assert.deepEqual(await found('::1'), [`[::1]:${port} unreachable`]);
  });

  it('verifies the name that the kubeconfig sets', async () => {
    const authority = await makeAuthority('kubernetes');
    await using server = await ApiServer.start(unauthorized, { authority });
    const [dialed] = await dial(server, [authority], { tlsServerName: 'other.example.com' });
    assert.equal(dialed?.kind, 'unverified');
    assert.equal(dialed.code, 'ERR_TLS_CERT_ALTNAME_INVALID');
  });

  it('dials through the proxy of the kubeconfig', async () => {
    await using server = await ApiServer.start(unauthorized);
    await using proxy = await startProxy();
    const [dialed] = await dial(server, [server.authority], { proxyUrl: proxy.url });
    assert.equal(dialed?.kind, 'verified');
    assert.equal(proxy.seen.length, 1);
  });

  it('reports a server that does not answer', async () => {
    const server = await ApiServer.start(unauthorized);
    const { url, authority } = server;
    await server[Symbol.asyncDispose]();
    const [dialed] = await dial({ url }, [authority]);
    assert.equal(dialed?.kind, 'unreachable');
    assert.equal(dialed.failure.code, 'API_UNREACHABLE');
  });

  it('reports a name that does not resolve', async () => {
    await using server = await ApiServer.start(unauthorized);
    const [dialed] = await dial(server, [server.authority], { server: 'https://api.invalid:6443' });
    assert.equal(dialed?.kind, 'unreachable');
    assert.equal(dialed.address, 'api.invalid:6443');
    assert.match(dialed.failure.message, /^the name api\.invalid does not resolve/);
  });
});

describe('unverifiedRefusal()', () => {
  const failure = { code: 'API_UNREACHABLE', message: 'refused' } as const;
  const verified = { address: '10.0.0.1:6443', kind: 'verified', chain: [] } as const;
  const unreachable = { address: '10.0.0.2:6443', kind: 'unreachable', failure } as const;

  it('is undefined if all servers that answer are verified', () => {
    assert.equal(unverifiedRefusal([verified, unreachable], source), undefined);
    assert.equal(unverifiedRefusal([unreachable], source), undefined);
  });

  it('names the server, the issuer and the error', async () => {
    await using server = await ApiServer.start(unauthorized);
    const dialed = await dial(server, [await makeAuthority('test-ca')]);
    const refusal = unverifiedRefusal([verified, ...dialed], source);
    assert.deepEqual(refusal, {
      code: 'TRUST_REFUSED',
      reason: 'does-not-verify-server',
      message: `this node does not trust the CAs in /etc/ca.crt: they do not verify the API server at 127.0.0.1:${server.port}, which serves a certificate with the issuer CN=test-ca (UNABLE_TO_GET_ISSUER_CERT_LOCALLY)`,
      remedy: 'Add the CA that issued the certificates of the API servers to /etc/ca.crt',
    });
  });
});
