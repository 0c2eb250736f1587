import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { bootstrapFindings, inspectBootstrap } from '../../src/doctor/bootstrap.ts';
import { connectionFindings } from '../../src/doctor/connection.ts';
import type { ServerFacts } from '../../src/doctor/server.ts';
import { askAboutBootstrap, askServer } from '../../src/doctor/server.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { startApi } from '../enroller/client-certificate-api.ts';
import { agentConfig } from '../keeper/fixtures.ts';
import { ApiServer, base64, clientOf, kubeconfigText } from '../kube/support/api-server.ts';
import { makeAuthority } from '../kube/support/certificates.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { startTlsEndingProxy } from '../support/tls-ending-proxy.ts';
import { summaryOf, textOf } from './findings.ts';

const context = { clock: systemClock, signal: new AbortController().signal };

/** Asks as an agent whose kubeconfig has a client certificate of this server's CA. */
async function ask(server: ApiServer): Promise<ServerFacts> {
  const { cert, key } = await server.authority.issue({
    commonName: 'system:node:worker-1',
    usages: ['client auth'],
  });
  const user = { 'client-certificate-data': base64(cert), 'client-key-data': base64(key) };
  await using client = await clientOf(server, { parts: { user } });
  const api = {
    open: async () => ({ client, source: 'kubeconfig' as const }),
    skewMs: () => 0,
    trustLost: () => false,
  };
  return await askServer({ config: agentConfig('/nowhere'), version: 'test', api }, context);
}

/** A load balancer whose backends are gone, or a web server. */
const webServer = (): Promise<ApiServer> =>
  ApiServer.start((_, response) => {
    response.writeHead(404, { 'content-type': 'text/plain' }).end('404 page not found\n');
  });

describe('askServer()', () => {
  it('finds no API server where everything is answered with 404', async () => {
    await using server = await webServer();
    const { connection, permissions, requests } = await ask(server);
    assert.equal(connection.kind, 'done');
    const findings = connectionFindings(connection.value, { nodeName: 'worker-1' });
    assert.deepEqual(summaryOf(findings), ['error api-troubled']);
    assert.ok(textOf(findings).includes(server.url));
    assert.deepEqual([permissions, requests], [undefined, undefined]);
  });

  it('checks no permissions behind a load balancer that terminates TLS', async () => {
    const authority = await makeAuthority('ca');
    await using behind = await startApi({ servingCa: authority, clientCa: authority });
    const ends = { server: behind.url, ca: authority.pem, authority };
    await using proxy = await startTlsEndingProxy(ends);
    const { connection, permissions } = await ask(proxy);
    assert.equal(connection.kind, 'done');
    const findings = connectionFindings(connection.value, { nodeName: 'worker-1' });
    assert.deepEqual(summaryOf(findings), ['error api-identity-refused']);
    assert.doesNotMatch(textOf(findings), /clusterrolebinding|[Bb]ind a role/);
    assert.equal(permissions, undefined);
  });
});

describe('askAboutBootstrap()', () => {
  it('does not take a 404 of a web server for a deleted token', async (test) => {
    await using server = await webServer();
    const config = agentConfig(await temporaryDirectory(test));
    const cluster = {
      server: server.url,
      'certificate-authority-data': base64(server.authority.pem),
    };
    const user = { token: 'abcdef.0123456789abcdef' };
    await writeFile(config.bootstrapKubeconfig ?? '', kubeconfigText({ cluster, user }), {
      mode: 0o600,
    });
    const facts = await inspectBootstrap(config);
    assert.ok(facts !== undefined);
    const api = {
      open: () => assert.fail('it has its own client'),
      skewMs: () => undefined,
      trustLost: () => false,
    };
    const asked = await askAboutBootstrap(facts, { config, version: 'test', api }, context);
    assert.equal(asked.record, 'unknown');
    const findings = bootstrapFindings(asked, {
      now: 0,
      nodeName: 'worker-1',
      needed: true,
      isOptional: false,
    });
    assert.doesNotMatch(textOf(findings), /expired|deleted/);
  });
});
