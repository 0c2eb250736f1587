import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { minute, second } from '../../src/core/instant.ts';
import type { DiscoveredBootstrap } from '../../src/discovery/discovery.ts';
import type { FileDiscoveryRequest } from '../../src/discovery/file-discovery.ts';
import { discoverFromFile } from '../../src/discovery/file-discovery.ts';
import { base64, sendStatus, servingPair } from '../kube/support/api-server.ts';
import { makeAuthority } from '../kube/support/certificates.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { pinOf, TestCluster, tokenOf, tokenText } from './support/test-cluster.ts';

type Entry = Readonly<Record<string, unknown>>;

interface Bench {
  readonly cluster: TestCluster;
  readonly directory: string;
  readonly path: string;
  readonly clock: FakeClock;
  readonly lines: string[];
  /** Settles with the next line of progress. */
  readonly nextLine: () => Promise<void>;
  /** Writes the kubeconfig of this cluster, with other fields of the cluster, and a user. */
  readonly write: (parts?: { readonly cluster?: Entry; readonly user?: Entry }) => Promise<string>;
  readonly run: (parts?: Partial<FileDiscoveryRequest>) => Promise<DiscoveredBootstrap>;
  readonly runWithoutToken: () => Promise<DiscoveredBootstrap>;
}

async function bench(t: TestContext): Promise<Bench> {
  const cluster = await TestCluster.start();
  t.after(() => cluster[Symbol.asyncDispose]());
  const directory = await temporaryDirectory(t);
  const path = join(directory, 'cluster.conf');
  const clock = new FakeClock(Date.now());
  const lines: string[] = [];
  let waiting = Promise.withResolvers<void>();
  const discover = (parts: Partial<FileDiscoveryRequest>): Promise<DiscoveredBootstrap> =>
    discoverFromFile(
      { source: { kind: 'file', path }, timeoutMs: minute, ...parts },
      {
        clock,
        signal: new AbortController().signal,
        version: '1.2.3',
        progress: (line) => {
          lines.push(line);
          waiting.resolve();
        },
      },
    );
  return {
    cluster,
    directory,
    path,
    clock,
    lines,
    nextLine: async () => {
      await waiting.promise;
      waiting = Promise.withResolvers<void>();
    },
    write: async ({ cluster: fields = {}, user } = {}) => {
      const text = JSON.stringify({
        apiVersion: 'v1',
        kind: 'Config',
        clusters: [
          {
            name: 'c',
            cluster: {
              server: cluster.api.url,
              'certificate-authority-data': base64(cluster.authority.pem),
              ...fields,
            },
          },
        ],
        contexts: [{ name: 'x', context: { cluster: 'c', user: user === undefined ? '' : 'u' } }],
        'current-context': 'x',
        users: user === undefined ? [] : [{ name: 'u', user }],
      });
      await writeFile(path, text);
      return text;
    },
    run: (parts = {}) => discover({ token: tokenOf(), ...parts }),
    runWithoutToken: () => discover({}),
  };
}

function tokenIn({ credential }: DiscoveredBootstrap): string {
  assert.equal(credential.kind, 'token');
  return Buffer.from(credential.token.expose()).toString();
}

describe('discoverFromFile()', () => {
  it('takes the server and the CA from the file, and checks the token', async (t) => {
    const { cluster, write, run } = await bench(t);
    await write();
    using found = await run();
    const { server, authorities, verifiedBy, warnings } = found.cluster;
    assert.equal(server, cluster.api.url);
    assert.deepEqual(
      authorities.map(({ pin }) => pin),
      [pinOf(cluster.authority.pem)],
    );
    assert.equal(verifiedBy, 'file');
    assert.deepEqual(warnings, []);
    assert.equal(tokenIn(found), tokenText);
    assert.deepEqual(cluster.credentials, [`Bearer ${tokenText}`]);
  });

  it('takes the kubeconfig of cluster-info, whose cluster has no name', async (t) => {
    const { cluster, path, run } = await bench(t);
    await writeFile(path, cluster.kubeconfig);
    using found = await run();
    assert.equal(found.cluster.server, cluster.api.url);
  });

  it('reads a CA file relative to the folder of the kubeconfig', async (t) => {
    const { cluster, directory, write, run } = await bench(t);
    await mkdir(join(directory, 'pki'));
    await writeFile(join(directory, 'pki/ca.crt'), cluster.authority.pem);
    await write({
      cluster: { 'certificate-authority-data': undefined, 'certificate-authority': 'pki/ca.crt' },
    });
    using found = await run();
    assert.equal(found.cluster.authorities.length, 1);
  });

  it('takes the token, the token file or the client certificate of the user', async (t) => {
    const { cluster, directory, write, runWithoutToken } = await bench(t);
    await write({ user: { token: tokenText } });
    using embedded = await runWithoutToken();
    assert.equal(tokenIn(embedded), tokenText);
    await writeFile(join(directory, 'token'), `${tokenText}\n`);
    await write({ user: { tokenFile: 'token' } });
    using fromFile = await runWithoutToken();
    assert.equal(tokenIn(fromFile), tokenText);

    const pair = await cluster.authority.issue({ commonName: 'joiner', usages: ['client auth'] });
    await writeFile(join(directory, 'client.crt'), pair.cert);
    await writeFile(join(directory, 'client.key'), pair.key);
    const { handler } = cluster.api;
    // This server does not request client certificates, so it accepts everybody.
    cluster.api.handler = (request, response) => {
      if (request.url?.includes('selfsubjectreviews')) {
        request.headers.authorization = `Bearer ${tokenText}`;
      }
      handler(request, response);
    };
    await write({ user: { 'client-certificate': 'client.crt', 'client-key': 'client.key' } });
    using certificate = await runWithoutToken();
    const { credential } = certificate;
    assert.equal(credential.kind, 'certificate');
    assert.equal(Buffer.from(credential.pem).toString(), pair.cert);
    assert.equal(Buffer.from(credential.key.expose()).toString(), pair.key);
  });

  it('prefers a given token to the user, and says so', async (t) => {
    const { write, run } = await bench(t);
    await write({
      user: { exec: { command: 'x', apiVersion: 'client.authentication.k8s.io/v1' } },
    });
    using found = await run();
    assert.match(found.cluster.warnings.join(), /user in .* is ignored, because a token was given/);
  });

  it('needs a credential that a node can use', async (t) => {
    const { write, runWithoutToken } = await bench(t);
    for (const [user, message] of [
      [undefined, /has no token and no client certificate/],
      [{}, /has no token and no client certificate/],
      [
        {
          exec: {
            command: 'x',
            apiVersion: 'client.authentication.k8s.io/v1',
            interactiveMode: 'Never',
          },
        },
        /users\[0\]\.user\.exec is an exec plugin/,
      ],
      [{ token: tokenText, as: 'admin' }, /impersonates another user/],
      [{ username: 'u', password: 'hunter2' }, /authentication method/],
    ] as const) {
      await write({ ...(user !== undefined && { user }) });
      await assert.rejects(runWithoutToken(), (error: Error) => {
        assert.match(error.message, message);
        assert.ok(!error.message.includes('hunter2'));
        return true;
      });
    }
  });

  for (const status of [401, 403, 404]) {
    it(`continues if cluster-info has the status ${status}, as the CA is known`, async (t) => {
      const { cluster, write, run } = await bench(t);
      cluster.respond = (_, response) => sendStatus(response, status);
      await write();
      using found = await run();
      assert.match(
        found.cluster.warnings.join(),
        new RegExp(`cluster-info cannot be read \\(HTTP status ${status}\\)`),
      );
    });
  }

  it('reports another server and another CA in cluster-info, and keeps those of the file', async (t) => {
    const { cluster, write, run } = await bench(t);
    const other = await makeAuthority('next-ca');
    cluster.bundle = [cluster.authority.pem, other.pem];
    cluster.named = 'https://10.0.0.9:6443';
    await write();
    using found = await run();
    assert.equal(found.cluster.server, cluster.api.url);
    assert.equal(found.cluster.authorities.length, 1);
    assert.deepEqual(found.cluster.warnings, [
      'cluster-info names another server: https://10.0.0.9:6443',
      `cluster-info has a CA that the file lacks: CN=next-ca, ${pinOf(other.pem)}`,
    ]);
  });

  it('refuses a server whose certificate the CA of the file did not issue', async (t) => {
    const { cluster, write, run } = await bench(t);
    const other = await makeAuthority('other-ca');
    await write({ cluster: { 'certificate-authority-data': base64(other.pem) } });
    await assert.rejects(run(), {
      code: 'API_UNTRUSTED',
      message: /signed by CN=kubernetes, and .*cluster\.conf trusts only CN=other-ca/,
    });
    assert.deepEqual(cluster.credentials, []);
  });

  it('refuses a file without a CA if the CAs of the system do not verify the server', async (t) => {
    const { write, run } = await bench(t);
    await write({ cluster: { 'certificate-authority-data': undefined } });
    await assert.rejects(run(), { code: 'API_UNTRUSTED' });
  });

  it('refuses a token that does not authenticate', async (t) => {
    const { cluster, write, run } = await bench(t);
    cluster.authenticating = [];
    await write();
    await assert.rejects(run(), {
      code: 'TOKEN_REJECTED',
      message: /the token does not authenticate at/,
    });
  });

  it('uses the server name of the file and another server', async (t) => {
    const authority = await makeAuthority('kubernetes');
    const pair = await authority.issue({
      commonName: 'api',
      usages: ['server auth'],
      dnsNames: ['api.example.com'],
    });
    await using cluster = await TestCluster.start({ authority, pair });
    const { path, run } = await bench(t);
    const fields = { server: 'https://api.example.com', 'tls-server-name': 'api.example.com' };
    const entry = { ...fields, 'certificate-authority-data': base64(authority.pem) };
    await writeFile(path, JSON.stringify({ clusters: [{ name: '', cluster: entry }] }));
    using found = await run({ server: cluster.endpoint });
    assert.equal(found.cluster.server, cluster.api.url);
    assert.equal(found.tlsServerName, 'api.example.com');
  });

  it('compares the content with the hash before it uses the file', async (t) => {
    const { cluster, write, run } = await bench(t);
    const text = await write();
    const hash = `sha256:${createHash('sha256').update(text).digest('hex')}` as const;
    using found = await run({ hash });
    assert.equal(found.cluster.verifiedBy, 'file');
    cluster.api.requests.length = 0;
    await write({ user: { token: 'other' } });
    await assert.rejects(run({ hash }), {
      code: 'CLUSTER_UNTRUSTED',
      message: new RegExp(`has the hash sha256:[0-9a-f]{64}, expected ${hash}`),
    });
    assert.deepEqual(cluster.api.requests, []);
  });

  it('refuses a file that is not a kubeconfig with a cluster and a CA', async (t) => {
    const { path, write, run } = await bench(t);
    const { cert } = await servingPair(await makeAuthority('a'));
    for (const [fields, message] of [
      [{ server: 'http://h' }, /would send the credential unencrypted/],
      [
        { 'insecure-skip-tls-verify': true, 'certificate-authority-data': undefined },
        /insecure-skip-tls-verify is true, so nothing proves/,
      ],
      [{ 'certificate-authority-data': 'AAAA' }, /certificate-authority-data cannot be used/],
      [{ 'certificate-authority-data': base64(cert) }, /certificate 1 of 1 .* is not a CA/],
      [
        { 'certificate-authority-data': undefined, 'certificate-authority': '/nonexistent' },
        /names \/nonexistent, which cannot be read/,
      ],
    ] as const) {
      await write({ cluster: fields });
      await assert.rejects(run(), { message });
    }
    for (const [text, message] of [
      ['{', /invalid YAML/],
      ['abcdef.0123456789abcdef', /has no clusters$/],
      ['clusters: [{name: a, cluster: {}}]', /no cluster with an empty name/],
      [Buffer.from([0xff, 0xfe]), /is not UTF-8 text/],
      [Buffer.alloc(2 ** 20 + 1), /more than 1048576/],
    ] as const) {
      await writeFile(path, text);
      await assert.rejects(run(), { message });
    }
    const missing = { kind: 'file', path: '/nonexistent' } as const;
    await assert.rejects(run({ source: missing }), { code: 'KUBECONFIG_MISSING' });
  });

  it('repeats after a failure that may pass, and gives up after the timeout', async (t) => {
    const { cluster, clock, lines, nextLine, write, run } = await bench(t);
    cluster.respond = (_, response) => sendStatus(response, 503);
    await write();
    const settled = assert.rejects(run(), {
      code: 'API_SERVER_ERROR',
      message: /HTTP status 503; gave up after 1m/,
    });
    for (const delay of [5, 10, 20, 30]) {
      await nextLine();
      await clock.advance(delay * second);
    }
    await settled;
    assert.match(lines[0] ?? '', /HTTP status 503; next attempt in 5s/);
  });
});
