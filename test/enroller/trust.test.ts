import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { CertificateTemplate } from '../../src/core/certificate-spec.ts';
import { AgentError } from '../../src/core/errors.ts';
import { checkIssued } from '../../src/enroller/issued-certificate.ts';
import { generatePrivateKey } from '../../src/enroller/private-key.ts';
import { verifyTrust } from '../../src/enroller/trust.ts';
import { KubeClient } from '../../src/kube/rest-client.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { clientTemplate } from '../core/fixtures.ts';
import type { ApiServer } from '../kube/support/api-server.ts';
import { base64, clientOf, sendJson } from '../kube/support/api-server.ts';
import type { Authority } from '../kube/support/certificates.ts';
import { makeAuthority } from '../kube/support/certificates.ts';
import { startTlsEndingProxy } from '../support/tls-ending-proxy.ts';
import { startApi } from './client-certificate-api.ts';

interface Rotation {
  readonly server: ApiServer;
  /** Signs the new certificate. */
  readonly signer: Authority;
  /** The CA of the certificate in use; absent during a bootstrap with a token. */
  readonly previous?: Authority;
  /** The CAs in the kubeconfig, in addition to the server's. */
  readonly trusted?: readonly Authority[];
  readonly template?: CertificateTemplate;
}

/** Checks a new certificate against a real TLS server; undefined when it may be stored. */
async function check(rotation: Rotation): Promise<AgentError | undefined> {
  const { server, signer, previous, trusted = [], template = clientTemplate } = rotation;
  const { commonName } = clientTemplate.subject;
  const bundle = [server.authority, ...trusted].map(({ pem }) => pem).join('');
  const old = await previous?.issue({ commonName, usages: ['client auth'] });
  const user =
    old === undefined
      ? { token: 'abcdef.0123456789abcdef' }
      : { 'client-certificate-data': base64(old.cert), 'client-key-data': base64(old.key) };
  const cluster = { 'certificate-authority-data': base64(bundle) };
  await using client = await clientOf(server, { parts: { cluster, user } });
  using key = await generatePrivateKey('ecdsa-p256');
  const { publicKey } = key;
  const pem = await signer.certify(publicKey, {
    ...clientTemplate.subject,
    usages: template.usages,
  });
  const chain = await checkIssued({ pem, template, publicKey, now: Date.now() });
  const access = {
    current: () => client,
    openWith: (other: KubeClient['access']) =>
      KubeClient.open({ access: other, version: 'test', clock: systemClock }),
  };
  const { signal } = new AbortController();
  try {
    await verifyTrust({ access, template, chain, key, signal });
    return undefined;
  } catch (error) {
    assert(error instanceof AgentError);
    return error;
  } finally {
    assert.doesNotThrow(() => key.pair, 'the key was given up before it was stored');
  }
}

/** Two CAs with the same name, as before and after a rollover. */
async function authorities(): Promise<{ oldCa: Authority; newCa: Authority }> {
  const [oldCa, newCa] = await Promise.all([
    makeAuthority('kubernetes'),
    makeAuthority('kubernetes'),
  ]);
  return { oldCa, newCa };
}

describe('verifyTrust()', () => {
  it('sends nothing when the same key signed the certificate in use', async () => {
    const { oldCa } = await authorities();
    await using server = await startApi({ servingCa: oldCa, clientCa: oldCa });
    assert.equal(await check({ server, signer: oldCa, previous: oldCa }), undefined);
    assert.equal(server.requests.length, 0);
  });

  it('rejects a new CA of the same name that the API server does not know yet', async () => {
    const { oldCa, newCa } = await authorities();
    await using server = await startApi({ servingCa: oldCa, clientCa: oldCa });
    const error = await check({ server, signer: newCa, previous: oldCa, trusted: [newCa] });
    assert.equal(error?.code, 'CERT_UNTRUSTED');
    assert.match(error.message, /rejects the issued certificate \(issuer CN=kubernetes\)/);
    assert.match(String(error.remedy), /kube-apiserver --client-ca-file/);
  });

  it('accepts a new CA that the API server knows', async () => {
    const { oldCa, newCa } = await authorities();
    await using server = await startApi({ servingCa: oldCa, clientCa: newCa });
    assert.equal(await check({ server, signer: newCa, previous: oldCa }), undefined);
    assert.equal(server.requests.length, 1);
  });

  it('tests the first certificate of a node', async () => {
    const { oldCa, newCa } = await authorities();
    await using server = await startApi({ servingCa: oldCa, clientCa: oldCa });
    assert.equal(await check({ server, signer: oldCa }), undefined);
    assert.equal((await check({ server, signer: newCa }))?.code, 'CERT_UNTRUSTED');
    assert.deepEqual(
      server.requests.map(({ headers }) => headers.authorization),
      [undefined, undefined],
    );
  });

  it('requests the version on a server without SelfSubjectReview', async () => {
    const { oldCa, newCa } = await authorities();
    await using server = await startApi({ servingCa: oldCa, clientCa: oldCa, hasReviews: false });
    assert.equal(await check({ server, signer: oldCa }), undefined);
    assert.equal((await check({ server, signer: newCa }))?.code, 'CERT_UNTRUSTED');
  });

  it('reports terminated TLS if the server receives no certificate', async () => {
    const { oldCa } = await authorities();
    await using behind = await startApi({ servingCa: oldCa, clientCa: oldCa });
    await using inFront = await startTlsEndingProxy({
      server: behind.url,
      ca: oldCa.pem,
      authority: oldCa,
    });
    const error = await check({ server: inFront, signer: oldCa });
    assert.equal(error?.code, 'API_ANONYMOUS');
    assert.match(
      error.message,
      /does not receive this node's certificate: a load balancer or proxy terminates/,
    );
    assert.match(String(error.remedy), /pass TLS through/);
    assert.doesNotMatch(String(error.remedy), /[Bb]ind|role/);
  });

  it('reports terminated TLS if a proxy uses its own certificate', async () => {
    const { oldCa } = await authorities();
    await using behind = await startApi({ servingCa: oldCa, clientCa: oldCa });
    const own = await oldCa.issue({ commonName: 'front-proxy', usages: ['client auth'] });
    await using inFront = await startTlsEndingProxy({
      server: behind.url,
      ca: oldCa.pem,
      authority: oldCa,
      own,
    });
    const error = await check({ server: inFront, signer: oldCa });
    assert.equal(error?.code, 'API_ANONYMOUS');
    assert.match(error.message, /identifies this node as front-proxy, not as system:node:worker-1/);
  });

  it('throws API_* codes, not CERT_UNTRUSTED, without a response', async () => {
    const { oldCa, newCa } = await authorities();
    const server = await startApi({ servingCa: oldCa, clientCa: oldCa });
    const broken: Rotation = { server, signer: newCa, previous: oldCa };
    server.handler = (_, response) => void response.socket?.destroy();
    assert.equal((await check(broken))?.code, 'API_UNREACHABLE');
    server.handler = (_, response) => sendJson(response, {}, 503);
    assert.equal((await check(broken))?.code, 'API_SERVER_ERROR');
    server.handler = (_, response) => void response.writeHead(404).end('not here');
    assert.equal((await check(broken))?.code, 'API_BAD_RESPONSE');
    await server[Symbol.asyncDispose]();
  });

  const others: readonly (readonly [string, Partial<CertificateTemplate>])[] = [
    ['serving certificates', { usages: ['digital signature', 'server auth'] }],
    ['certificates of another signer', { signerName: 'example.com/client' }],
  ];
  for (const [what, changes] of others) {
    it(`does not test ${what}`, async () => {
      const { oldCa, newCa } = await authorities();
      await using server = await startApi({ servingCa: oldCa, clientCa: oldCa });
      const template = { ...clientTemplate, ...changes };
      assert.equal(await check({ server, signer: newCa, template }), undefined);
      assert.equal(server.requests.length, 0);
    });
  }
});
