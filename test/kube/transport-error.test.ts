import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { describeError } from '../../src/core/errors.ts';
import { day } from '../../src/core/instant.ts';
import type { Handler } from './support/api-server.ts';
import {
  ApiServer,
  base64,
  clientOf,
  sendJson,
  servingPair,
  temporaryFolder,
} from './support/api-server.ts';
import type { Authority, AuthorityOptions, LeafOptions, Pair } from './support/certificates.ts';
import { makeAuthority, selfSigned } from './support/certificates.ts';
import { failureOf, get } from './support/requests.ts';

const ok: Handler = (_, response) => {
  sendJson(response, {});
};

/** A correct serving certificate; each case changes one thing. */
const rightful: LeafOptions = {
  commonName: 'api',
  usages: ['server auth'],
  ips: ['127.0.0.1'],
};

interface Case {
  readonly name: string;
  /** The message after the URL; `ISO` stands for a time, and `HEX` for a fingerprint. */
  readonly says: string;
  readonly remedy: RegExp;
  /** The certificate of the server. Clients trust only `ca`. */
  readonly shown: (ca: Authority) => Promise<Pair>;
  readonly cluster?: Readonly<Record<string, unknown>>;
}

const foreign = (): Promise<Authority> => makeAuthority('foreign');

/** A certificate of another CA that is also called "ca". */
const namesake = async (options?: AuthorityOptions): Promise<Pair> =>
  (await makeAuthority('ca', options)).issue(rightful);

describe('transportError()', () => {
  const cases: readonly Case[] = [
    {
      name: 'a certificate of another CA',
      says: 'its certificate (SHA-256 HEX) was signed by CN=foreign, and PATH trusts only CN=ca (SHA-256 HEX) (UNABLE_TO_GET_ISSUER_CERT_LOCALLY)',
      remedy: /^Put the CA that signed the certificate into certificate-authority-data of /,
      shown: async () => (await foreign()).issue(rightful),
    },
    {
      name: 'a certificate and its own CA, both sent',
      says: 'its certificate (SHA-256 HEX) was signed by CN=foreign (SHA-256 HEX), and PATH trusts only CN=ca (SHA-256 HEX) (SELF_SIGNED_CERT_IN_CHAIN)',
      remedy: /certificate-authority-data/,
      shown: async () => {
        const authority = await foreign();
        const { cert, key } = await authority.issue(rightful);
        return { cert: cert + authority.pem, key };
      },
    },
    {
      name: 'a certificate of another CA of the same name',
      says: 'its certificate (SHA-256 HEX) was signed by CN=ca, but PATH contains another CA of that name: CN=ca (SHA-256 HEX) (UNABLE_TO_GET_ISSUER_CERT_LOCALLY)',
      remedy: /certificate-authority-data/,
      shown: () => namesake(),
    },
    {
      name: 'a certificate of another CA of the same name, without key identifiers',
      says: 'its certificate (SHA-256 HEX) was signed by CN=ca, but PATH contains another CA of that name: CN=ca (SHA-256 HEX) (CERT_SIGNATURE_FAILURE)',
      remedy: /certificate-authority-data/,
      shown: () => namesake({ keyIds: false }),
    },
    {
      name: 'a self-signed certificate',
      says: 'its certificate is self-signed (CN=alone) (DEPTH_ZERO_SELF_SIGNED_CERT)',
      remedy: /^Check that server in \S+ is the API server; if it is, put its certificate into/,
      shown: () => selfSigned('127.0.0.1'),
    },
    {
      name: 'a certificate for another address',
      says: 'its certificate is for 10.0.0.1, kubernetes, not for 127.0.0.1 (ERR_TLS_CERT_ALTNAME_INVALID)',
      remedy: /^Set server or tls-server-name in \S+ to a name of the certificate, or add 127/,
      shown: (ca) => ca.issue({ ...rightful, ips: ['10.0.0.1'], dnsNames: ['kubernetes'] }),
    },
    {
      name: 'a certificate without the name in tls-server-name',
      says: 'its certificate is for 127.0.0.1, not for kubernetes.default (ERR_TLS_CERT_ALTNAME_INVALID)',
      remedy: /^Set tls-server-name in \S+ to a name of the certificate, or add kubernetes.default/,
      shown: (ca) => ca.issue(rightful),
      cluster: { 'tls-server-name': 'kubernetes.default' },
    },
    {
      name: 'an expired certificate',
      says: 'its certificate expired at ISO (CERT_HAS_EXPIRED)',
      remedy: /^Renew the certificate of the API server \(kubeadm certs renew apiserver\), and/,
      shown: (ca) =>
        ca.issue({ ...rightful, notBefore: Date.now() - 2 * day, notAfter: Date.now() - day }),
    },
    {
      name: 'a certificate that is not valid yet',
      says: 'its certificate is not valid before ISO (CERT_NOT_YET_VALID)',
      remedy: /clock/,
      shown: (ca) => ca.issue({ ...rightful, notBefore: Date.now() + day / 2 }),
    },
    {
      name: 'a certificate without the usage "server auth"',
      says: 'its certificate has no usage "server auth" (CN=api) (INVALID_PURPOSE)',
      remedy: /usage "server auth"/,
      shown: (ca) => ca.issue({ ...rightful, usages: ['client auth'] }),
    },
  ];
  for (const { name, says, remedy, shown, cluster = {} } of cases) {
    it(`names the cause for ${name}, and sends nothing`, async () => {
      const authority = await makeAuthority('ca');
      await using server = await ApiServer.start(ok, { authority, pair: await shown(authority) });
      await using client = await clientOf(server, { parts: { cluster } });
      const failure = await failureOf(get(client));
      assert.equal(failure.code, 'API_UNTRUSTED');
      const message = failure.message
        .replaceAll(client.access.path, 'PATH')
        .replaceAll(/SHA-256 [\da-f]{16}/g, 'SHA-256 HEX')
        .replace(/\d{4}-\d\d-\d\dT[\d:]+Z/, 'ISO');
      assert.equal(message, `get /thing at ${server.url}: ${says}`);
      assert.match(failure.remedy ?? '', remedy);
      assert.doesNotMatch(describeError(failure) + failure.remedy, /Node|use-system-ca/);
      assert.equal(server.requests.length, 0);
    });
  }

  it('names the CA when the CA has expired', async () => {
    const authority = await makeAuthority('old', { notAfter: Date.now() - 1 });
    await using server = await ApiServer.start(ok, { authority });
    await using client = await clientOf(server);
    const failure = await failureOf(get(client));
    assert.equal(failure.code, 'API_UNTRUSTED');
    assert.match(failure.message, /the CA of its certificate, CN=old, expired at \d{4}-/);
    assert.match(failure.remedy ?? '', /^Renew the CA of the cluster/);
  });

  it('trusts the CAs of the system when the kubeconfig names none', async () => {
    await using server = await ApiServer.start(ok);
    await using client = await clientOf(server, {
      parts: { cluster: { 'certificate-authority-data': '' } },
    });
    const failure = await failureOf(get(client));
    assert.equal(failure.code, 'API_UNTRUSTED');
    assert.match(
      failure.message,
      /signed by CN=test-ca, and \S+ trusts only the CAs of this system/,
    );
    assert.doesNotMatch(describeError(failure), /use-system-ca/);
  });

  it('ends a connection to a silent peer at the connect timeout', async () => {
    await using server = await ApiServer.start(() => {});
    const silent = createTcpServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    await using client = await clientOf(server, {
      limits: { connectMs: 100 },
      parts: { cluster: { server: `https://127.0.0.1:${port}` } },
    });
    const failure = await failureOf(get(client));
    silent.close();
    assert.equal(failure.code, 'API_TIMEOUT');
    assert.match(failure.message, /the connection timed out \(UND_ERR_CONNECT_TIMEOUT\)/);
  });

  it('reports a closed port as API_UNREACHABLE with server and reason', async () => {
    const server = await ApiServer.start(() => {});
    const { url } = server;
    await using client = await clientOf(server);
    await server[Symbol.asyncDispose]();
    const failure = await failureOf(get(client));
    assert.equal(failure.code, 'API_UNREACHABLE');
    assert.equal(failure.message, `get /thing at ${url}: the connection failed (ECONNREFUSED)`);
  });

  it('reports a name that does not resolve as API_UNREACHABLE', async () => {
    await using server = await ApiServer.start(() => {});
    await using client = await clientOf(server, {
      parts: { cluster: { server: 'https://no-such-host.invalid' } },
    });
    assert.equal((await failureOf(get(client))).code, 'API_UNREACHABLE');
  });

  it('reports a server without TLS as API_UNREACHABLE', async () => {
    await using server = await ApiServer.start(() => {});
    const plain = createHttpServer().listen(0, '127.0.0.1');
    await once(plain, 'listening');
    const { port } = plain.address() as AddressInfo;
    await using client = await clientOf(server, {
      parts: { cluster: { server: `https://127.0.0.1:${port}` } },
    });
    const failure = await failureOf(get(client));
    plain.close();
    assert.equal(failure.code, 'API_UNREACHABLE');
  });

  it('reports bytes that are not HTTP as API_BAD_RESPONSE', async () => {
    await using server = await ApiServer.start(() => {});
    server.server.removeAllListeners('request');
    server.server.prependListener('secureConnection', (socket: TLSSocket) => {
      socket.end('220 mail.example.com ESMTP\r\n');
    });
    await using client = await clientOf(server);
    assert.equal((await failureOf(get(client))).code, 'API_BAD_RESPONSE');
  });

  it('reports a certificate rejected in the handshake as API_UNAUTHORIZED', async () => {
    const authority = await makeAuthority('ca');
    await using server = await ApiServer.start(() => {}, { authority });
    await using strict = await startOpenssl(authority, await servingPair(authority));
    const foreign = await makeAuthority('foreign');
    const pair = await foreign.issue({ commonName: 'x', usages: ['client auth'] });
    const user = {
      'client-certificate-data': base64(pair.cert),
      'client-key-data': base64(pair.key),
    };
    const cluster = { server: strict.url };
    await using stranger = await clientOf(server, { parts: { cluster, user } });
    await using anonymous = await clientOf(server, { parts: { cluster } });
    for (const client of [stranger, anonymous]) {
      const failure = await failureOf(get(client));
      assert.equal(failure.code, 'API_UNAUTHORIZED', describeError(failure));
      assert.match(failure.message, /rejected the client certificate \(ERR_SSL_\w+\)/);
    }
  });
});

/** Unlike Node's server, openssl sends an alert for a bad client certificate, as Go and nginx do. */
async function startOpenssl(
  authority: Authority,
  pair: Pair,
): Promise<AsyncDisposable & { readonly url: string }> {
  const folder = await temporaryFolder();
  await writeFile(join(folder.path, 'ca.pem'), authority.pem);
  await writeFile(join(folder.path, 'server.pem'), pair.cert + pair.key);
  const child = spawn(
    'openssl',
    [
      's_server',
      '-accept',
      '127.0.0.1:0',
      '-cert',
      'server.pem',
      '-CAfile',
      'ca.pem',
      '-www',
    ].concat(['-Verify', '1', '-verify_return_error']),
    { cwd: folder.path, stdio: ['ignore', 'pipe', 'ignore'] },
  );
  let output = '';
  for await (const chunk of child.stdout.iterator({ destroyOnReturn: false })) {
    output += String(chunk);
    if (/ACCEPT .*:\d+/.test(output)) break;
  }
  child.stdout.resume();
  const port = /ACCEPT .*:(\d+)/.exec(output)?.[1];
  return {
    url: `https://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      child.kill();
      await once(child, 'exit');
      await folder[Symbol.asyncDispose]();
    },
  };
}
