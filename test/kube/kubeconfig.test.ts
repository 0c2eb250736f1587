import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { stringify } from 'yaml';
import type { ErrorCode } from '../../src/core/errors.ts';
import { AgentError, describeError } from '../../src/core/errors.ts';
import type { ClusterAccess } from '../../src/kube/cluster-access.ts';
import { loadKubeconfig } from '../../src/kube/kubeconfig.ts';
import { base64, kubeconfigText, temporaryFolder } from './support/api-server.ts';
import { makeAuthority } from './support/certificates.ts';
import { failureOf } from './support/requests.ts';

const authority = await makeAuthority('kubeconfig-ca');
const pair = await authority.issue({ commonName: 'node', usages: ['client auth'] });
const server = 'https://10.0.0.1:6443';

const v1 = 'client.authentication.k8s.io/v1';
const aws = { apiVersion: v1, command: 'aws', interactiveMode: 'Never' };

async function load(text: string, files: Record<string, string> = {}): Promise<ClusterAccess> {
  await using folder = await temporaryFolder();
  await mkdir(join(folder.path, 'pki'));
  for (const [name, content] of Object.entries(files)) {
    await writeFile(join(folder.path, name), content);
  }
  await writeFile(join(folder.path, 'kubeconfig'), text);
  return await loadKubeconfig(join(folder.path, 'kubeconfig'));
}

function config(cluster: Record<string, unknown>, user: Record<string, unknown> = {}): string {
  return stringify(JSON.parse(kubeconfigText({ cluster: { server, ...cluster }, user })));
}

function text(bytes: Uint8Array | undefined): string {
  return new TextDecoder().decode(bytes);
}

describe('loadKubeconfig()', () => {
  it('reads data from the file itself', async () => {
    const { cluster, credential } = await load(
      config(
        {
          'certificate-authority-data': base64(authority.pem),
          'tls-server-name': 'api.example.com',
          'proxy-url': 'http://proxy:3128',
        },
        {
          token: 'abc',
          'client-certificate-data': base64(pair.cert),
          'client-key-data': base64(pair.key),
        },
      ),
    );
    assert.equal(cluster.server, server);
    assert.equal(text(cluster.certificateAuthority?.pem), authority.pem);
    assert.equal(cluster.certificateAuthority?.file, undefined);
    assert.equal(cluster.tlsServerName, 'api.example.com');
    assert.equal(cluster.proxyUrl, 'http://proxy:3128');
    assert.equal(cluster.insecureSkipTlsVerify, false);
    assert.equal(text(credential.token?.expose()), 'abc');
    assert.equal(text(credential.clientCertificate?.pem), pair.cert);
    assert.equal(text(credential.clientCertificate?.key.expose()), pair.key);
  });

  it('reads files relative to its folder, and keeps the path of the authorities', async () => {
    const { path, cluster, credential } = await load(
      config(
        { 'certificate-authority': 'pki/ca.crt' },
        { 'client-certificate': 'pki/a.crt', 'client-key': 'pki/a.key', tokenFile: 'pki/token' },
      ),
      { 'pki/ca.crt': authority.pem, 'pki/a.crt': pair.cert, 'pki/a.key': pair.key },
    );
    assert.equal(cluster.certificateAuthority?.file, join(path, '../pki/ca.crt'));
    assert.equal(text(cluster.certificateAuthority?.pem), authority.pem);
    assert.equal(credential.tokenFile, join(path, '../pki/token'));
    assert.equal(text(credential.clientCertificate?.key.expose()), pair.key);
  });

  it('reads certificate and key from one combined file', async () => {
    const { credential } = await load(
      config({}, { 'client-certificate': 'pair.pem', 'client-key': 'pair.pem' }),
      { 'pair.pem': pair.cert + authority.pem + pair.key },
    );
    assert.equal(text(credential.clientCertificate?.pem), pair.cert + authority.pem);
    assert.match(text(credential.clientCertificate?.key.expose()), /BEGIN PRIVATE KEY/);
  });

  it('prefers data over files, as client-go does', async () => {
    const { cluster } = await load(
      config({
        'certificate-authority': '/does/not/exist',
        'certificate-authority-data': base64(authority.pem),
      }),
    );
    assert.equal(text(cluster.certificateAuthority?.pem), authority.pem);
  });

  const servers: readonly [string, string][] = [
    ['10.0.0.1:6443', 'https://10.0.0.1:6443'],
    ['https://[::1]:6443/', 'https://[::1]:6443'],
    [
      'https://rancher.example.com/k8s/clusters/c-1/',
      'https://rancher.example.com/k8s/clusters/c-1',
    ],
  ];
  for (const [given, expected] of servers) {
    it(`reads the server ${given} as ${expected}`, async () => {
      assert.equal((await load(config({ server: given }))).cluster.server, expected);
    });
  }

  it('reads only what the current context needs', async () => {
    const document = JSON.parse(
      config({}, { token: 'abc' }) && kubeconfigText({ cluster: { server } }),
    ) as {
      users: unknown[];
      clusters: unknown[];
      preferences: unknown;
    };
    document.users.push({ name: 'other', user: { exec: { command: 'aws' } } });
    document.clusters.push({ name: 'other', cluster: null });
    document.preferences = { colors: true };
    assert.equal((await load(JSON.stringify(document))).cluster.server, server);
  });

  it('hides token and key in every printed form, and wipes both', async () => {
    const access = await load(
      config(
        {},
        {
          token: 'hidden-token',
          'client-certificate-data': base64(pair.cert),
          'client-key-data': base64(pair.key),
        },
      ),
    );
    for (const shown of [inspect(access, { depth: 9 }), JSON.stringify(access)]) {
      assert.doesNotMatch(shown, /hidden-token|PRIVATE/);
    }
    access[Symbol.dispose]();
    assert(access.credential.token?.expose().every((byte) => byte === 0));
    assert(access.credential.clientCertificate?.key.expose().every((byte) => byte === 0));
  });

  it('reads an exec plugin, and hides its variables', async () => {
    const extension = { audience: 'nodes' };
    const { path, credential } = await load(
      config(
        { extensions: [{ name: 'client.authentication.k8s.io/exec', extension }] },
        {
          exec: {
            ...aws,
            args: ['eks', 'get-token'],
            env: [{ name: 'AWS_SECRET', value: 'hidden' }],
            installHint: 'apt\ninstall \u001b[1maws',
            provideClusterInfo: true,
          },
        },
      ),
    );
    const { plugin } = credential;
    assert.deepEqual(plugin?.environment(), { AWS_SECRET: 'hidden' });
    assert.doesNotMatch(inspect(credential, { depth: 9 }) + JSON.stringify(credential), /hidden/);
    const { environment: _, ...shown } = plugin;
    assert.deepEqual(shown, {
      apiVersion: v1,
      name: 'aws',
      command: 'aws',
      args: ['eks', 'get-token'],
      installHint: 'apt install [1maws',
      provideClusterInfo: true,
      clusterConfig: extension,
    });
    const commands: readonly (readonly [string, string])[] = [
      ['./bin/aws', join(path, '../bin/aws')],
      ['bin/aws', join(path, '../bin/aws')],
      ['/usr/bin/aws', '/usr/bin/aws'],
    ];
    for (const [command, expected] of commands) {
      const found = await load(config({}, { exec: { ...aws, command } }));
      const folder = join(found.path, '..');
      const wanted = expected.replace(join(path, '..'), folder);
      assert.equal(found.credential.plugin?.command, wanted);
    }
  });

  it('accepts a v1beta1 plugin without interactiveMode', async () => {
    const apiVersion = 'client.authentication.k8s.io/v1beta1';
    const { credential } = await load(config({}, { exec: { command: 'aws', apiVersion } }));
    assert.equal(credential.plugin?.apiVersion, apiVersion);
  });

  it('reads the identity to impersonate', async () => {
    const { credential } = await load(
      config({}, { token: 'abc', as: 'jane', 'as-groups': ['dev'], extensions: [{ name: 'x' }] }),
    );
    assert.deepEqual(credential.impersonation, {
      user: 'jane',
      uid: '',
      groups: ['dev'],
      extra: {},
    });
  });

  it('treats empty values of unknown keys as absent', async () => {
    const { credential } = await load(config({}, { token: 'abc', username: '', exec: null }));
    assert.equal(text(credential.token?.expose()), 'abc');
  });

  interface Case {
    readonly name: string;
    readonly text: string;
    readonly code?: ErrorCode;
    readonly message: RegExp;
    readonly remedy?: RegExp;
  }
  const cases: readonly Case[] = [
    { name: 'a list', text: '- a', message: /current-context is missing|must be/ },
    {
      name: 'text that is not YAML',
      text: 'a: [1,\nb: }',
      message: /line \d: invalid YAML \(/,
    },
    { name: 'two documents', text: 'a: 1\n---\nb: 2', message: /MULTIPLE_DOCS/ },
    {
      name: 'a missing context',
      text: 'kind: Config\ncurrent-context: gone\ncontexts: []',
      message: /line 2: current-context names "gone", but contexts has 0 entries with that name/,
    },
    {
      name: 'two contexts with the same name',
      text: 'current-context: a\ncontexts:\n- name: a\n- name: a',
      message: /but contexts has 2 entries with that name/,
    },
    {
      name: 'a missing user',
      text: 'current-context: a\ncontexts:\n- name: a\n  context:\n    cluster: c\n    user: u\nclusters:\n- {name: c, cluster: {server: "https://x"}}',
      message:
        /line 6: contexts\[0\]\.context\.user names "u", but users has 0 entries with that name/,
    },
    {
      name: 'a cluster without a server',
      text: 'current-context: a\ncontexts:\n- {name: a, context: {cluster: c, user: u}}\nclusters:\n- name: c\n  cluster:\n    insecure-skip-tls-verify: true\n',
      message: /line 7: clusters\[0\]\.cluster\.server is missing/,
    },
    {
      name: 'a server that is not a URL',
      text: config({ server: 'https://' }),
      message: /cluster\.server must be a URL/,
    },
    {
      name: 'a server with a query',
      text: config({ server: 'https://a/?b' }),
      message: /must be a URL/,
    },
    {
      name: 'a server without TLS',
      text: config({ server: 'http://10.0.0.1:8080' }),
      code: 'KUBECONFIG_UNSUPPORTED',
      message: /server has the scheme http:/,
      remedy: /https:\/\//,
    },
    {
      name: 'a socks proxy',
      text: config({ 'proxy-url': 'socks5://proxy:1080' }),
      code: 'KUBECONFIG_UNSUPPORTED',
      message: /proxy-url has the scheme socks5:/,
      remedy: /http:\/\/ or https:\/\//,
    },
    {
      name: 'a proxy that is not a URL',
      text: config({ 'proxy-url': 'proxy' }),
      message: /proxy-url must be a URL/,
    },
    ...['http://proxy:3128/path', 'http://proxy?x', 'http://%:p@proxy', 'http://u:%4@proxy'].map(
      (proxy) => ({
        name: `the proxy ${proxy}`,
        text: config({ 'proxy-url': proxy }),
        message: /proxy-url must have no path, query or fragment/,
      }),
    ),
    {
      name: 'authorities together with insecure-skip-tls-verify',
      text: config({
        'insecure-skip-tls-verify': true,
        'certificate-authority-data': base64(authority.pem),
      }),
      message: /insecure-skip-tls-verify is true although/,
    },
    {
      name: 'a flag that is text',
      text: config({ 'insecure-skip-tls-verify': 'yes' }),
      message: /must be boolean, found string/,
    },
    {
      name: 'authorities that are not base64',
      text: config({ 'certificate-authority-data': '%%' }),
      message: /certificate-authority-data is not base64/,
    },
    {
      name: 'authorities that are not PEM',
      text: config({ 'certificate-authority-data': base64('hello') }),
      message: /contains no certificate/,
    },
    {
      name: 'a PEM block that is cut off',
      text: config({ 'certificate-authority-data': base64(authority.pem.slice(0, 200)) }),
      message: /is not PEM/,
    },
    {
      name: 'a missing authority file',
      text: config({ 'certificate-authority': 'gone.crt' }),
      message: /certificate-authority names \/.*gone\.crt, which cannot be read/,
    },
    {
      name: 'a certificate without a key',
      text: config({}, { 'client-certificate-data': base64(pair.cert) }),
      message: /users\[0\]\.user has no client-key for its certificate/,
    },
    {
      name: 'a key without a certificate',
      text: config({}, { 'client-key-data': base64(pair.key) }),
      message: /has no client-certificate for its key/,
    },
    {
      name: 'a token that is a number',
      text: config({}, { token: 12345 }),
      message: /token must be string, found number/,
    },
    ...['auth-provider', 'username', 'password'].map((key) => ({
      name: `a user with ${key}`,
      text: config({}, { token: 'abc', [key]: 'x' }),
      code: 'KUBECONFIG_UNSUPPORTED' as const,
      message: new RegExp(`users\\[0\\]\\.user\\.${key} is an authentication method`),
      remedy: new RegExp(`Replace ${key} with token`),
    })),
    ...(
      [
        ['a plugin without a command', { apiVersion: v1 }, /exec\.command is missing/],
        ['a plugin without a version', { command: 'aws' }, /exec\.apiVersion is missing/],
        [
          'a v1 plugin without a mode',
          { ...aws, interactiveMode: '' },
          /interactiveMode is missing/,
        ],
        ['an unknown mode', { ...aws, interactiveMode: 'No' }, /interactiveMode must be Never, /],
        [
          'a variable without a name',
          { ...aws, env: [{ value: 'x' }] },
          /env\[0\]\.name is missing/,
        ],
        ['an argument that is a number', { ...aws, args: [1] }, /args\[0\] must be string/],
        ['a NUL in an argument', { ...aws, args: ['a\0b'] }, /exec contains a NUL character/],
      ] as const
    ).map(([name, exec, message]) => ({ name, text: config({}, { exec }), message })),
    {
      name: 'a key of a plugin that nodecertd does not know',
      text: config({}, { exec: { ...aws, provideclusterinfo: true } }),
      code: 'KUBECONFIG_UNSUPPORTED',
      message: /exec\.provideclusterinfo is a key that nodecertd does not know/,
    },
    {
      name: 'a plugin that needs a terminal',
      text: config({}, { exec: { ...aws, interactiveMode: 'Always' } }),
      code: 'KUBECONFIG_UNSUPPORTED',
      message: /exec\.interactiveMode is Always, but a service has no terminal/,
      remedy: /interactiveMode to Never/,
    },
    {
      name: 'a plugin of an old API version',
      text: config({}, { exec: { ...aws, apiVersion: 'client.authentication.k8s.io/v1alpha1' } }),
      code: 'KUBECONFIG_UNSUPPORTED',
      message: /exec\.apiVersion is "client\.authentication\.k8s\.io\/v1alpha1"/,
      remedy: /client\.authentication\.k8s\.io\/v1 or /,
    },
    {
      name: 'a key of the user that nodecertd does not know',
      text: config({}, { token: 'abc', tokenfile: '/a/token' }),
      code: 'KUBECONFIG_UNSUPPORTED',
      message: /users\[0\]\.user\.tokenfile is a key that nodecertd does not know/,
      remedy: /Correct or remove the key tokenfile/,
    },
    ...[
      { 'as-uid': '42' },
      { 'as-groups': ['system:masters'] },
      { 'as-user-extra': { scopes: ['a'] } },
    ].map((alone) => ({
      name: `${Object.keys(alone)[0]} without as`,
      text: config({}, { token: 'abc', ...alone }),
      message: new RegExp(`\\.${Object.keys(alone)[0]} is set, but "as" names no user`),
    })),
    {
      name: 'a group that is a number',
      text: config({}, { token: 'abc', as: 'jane', 'as-groups': [7] }),
      message: /as-groups\[0\] must be string, found number/,
    },
    {
      name: 'a user to impersonate with a line break',
      text: config({}, { token: 'abc', as: 'jane\nX-Other: 1' }),
      message: /user\.as contains a control character/,
    },
    {
      name: 'an extra field with a line break',
      text: config({}, { token: 'abc', as: 'jane', 'as-user-extra': { a: ['b', 'c\r'] } }),
      message: /as-user-extra contains a control character/,
    },
  ];
  for (const { name, text, code = 'KUBECONFIG_INVALID', message, remedy = /./ } of cases) {
    it(`rejects ${name} with line and key`, async () => {
      const failure = await failureOf(load(text));
      assert.equal(failure.code, code, describeError(failure));
      assert.match(failure.message, message);
      assert.match(failure.message, /^kubeconfig \/.*\/kubeconfig, line \d+: /);
      assert.match(failure.remedy ?? '', remedy);
    });
  }

  for (const [what, text] of [
    ['without content', ''],
    ['of comments', '# nothing\n'],
    ['of NUL bytes', '\0\0\0'],
  ]) {
    it(`reports a file ${what} as empty`, async () => {
      const failure = await failureOf(load(text ?? ''));
      assert.equal(failure.code, 'KUBECONFIG_INVALID');
      assert.match(failure.message, /^kubeconfig \/.*\/kubeconfig is empty$/);
    });
  }

  it('names the kind of another document, and the settings to change', async () => {
    const text = 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n';
    const failure = await failureOf(load(text));
    assert.equal(failure.code, 'KUBECONFIG_INVALID');
    const found =
      / is a KubeletConfiguration \(kubelet\.config\.k8s\.io\/v1beta1\), not a kubeconfig$/;
    assert.match(failure.message, found);
    assert.match(failure.remedy ?? '', /--kubeconfig.*--bootstrap-kubeconfig/);
  });

  it('reports a missing file, a folder and an endless file', async () => {
    const missing = await failureOf(loadKubeconfig('/does/not/exist'));
    assert.equal(missing.code, 'KUBECONFIG_MISSING');
    assert.equal(describeError(missing), 'kubeconfig /does/not/exist does not exist');
    assert.equal((await failureOf(loadKubeconfig('/'))).code, 'KUBECONFIG_INVALID');
    assert.equal((await failureOf(loadKubeconfig('/dev/zero'))).code, 'KUBECONFIG_INVALID');
  });

  it('finds the entries of the current context among any others', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'kubeconfig');
    const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 });
    const names = fc.uniqueArray(name, { minLength: 1, maxLength: 5 });
    const token = fc
      .string({ unit: 'grapheme-ascii', minLength: 1 })
      .filter((text) => /\S/.test(text));
    const parts = fc.record({
      contexts: names,
      clusters: names,
      users: names,
      tokens: fc.array(token, { minLength: 5, maxLength: 5 }),
      pick: fc.tuple(fc.nat(), fc.nat(), fc.nat()),
      asJson: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(parts, async ({ contexts, clusters, users, tokens, pick, asJson }) => {
        const [context, cluster, user] = [contexts, clusters, users].map(
          (all, index) => (pick[index] ?? 0) % all.length,
        ) as [number, number, number];
        const document = {
          kind: 'Config',
          users: users.map((name, index) => ({ name, user: { token: tokens[index] } })),
          contexts: contexts.map((name, index) => ({
            name,
            // Reading any other context fails.
            context: index === context ? { cluster: clusters[cluster], user: users[user] } : {},
          })),
          clusters: clusters.map((name, index) => ({
            name,
            cluster: { server: `https://server-${index}` },
          })),
          'current-context': contexts[context],
        };
        await writeFile(path, asJson ? JSON.stringify(document) : stringify(document));
        using access = await loadKubeconfig(path);
        assert.equal(access.cluster.server, `https://server-${cluster}`);
        assert.equal(text(access.credential.token?.expose()), tokens[user]);
      }),
      { numRuns: 100 },
    );
  });

  it('turns any text into access or an AgentError without the token', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'kubeconfig');
    const valid = config({}, { token: 'Hidden' });
    const damaged = fc
      .tuple(fc.nat(valid.length), fc.nat(30), fc.string({ unit: 'grapheme' }))
      .map(([at, cut, added]) => valid.slice(0, at) + added + valid.slice(at + cut));
    const shaped = fc.anything({ maxDepth: 4 }).map((value) => {
      const parts = { 'current-context': 'a', contexts: value, clusters: value, users: value };
      return JSON.stringify(parts, (_, item: unknown) => (typeof item === 'bigint' ? 1 : item));
    });
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string({ unit: 'binary' }), damaged, shaped), async (text) => {
        await writeFile(path, text);
        try {
          (await loadKubeconfig(path))[Symbol.dispose]();
        } catch (error) {
          assert(error instanceof AgentError, describeError(error));
          assert.match(error.code, /^KUBECONFIG_(INVALID|UNSUPPORTED)$/);
          assert.doesNotMatch(describeError(error), /Hidden/);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('does not repeat a key in place of the path of its file', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const pem = privateKey.export({ format: 'pem', type: 'pkcs8' });
    const certificate = { 'client-certificate-data': base64('') };
    const inPath = `pair${base64(pem).slice(40, 80)}.pem`;
    for (const key of [pem, base64(pem), pem.split('\n')[1], inPath]) {
      const failure = await failureOf(load(config({}, { ...certificate, 'client-key': key })));
      assert.equal(failure.code, 'KUBECONFIG_INVALID');
      const shown = describeError(failure) + String(failure.remedy);
      assert.match(shown, /client-key names a file that cannot be read/);
      assert.ok(!shown.includes(String(key).slice(30, 45)), shown);
    }
  });

  it('rejects endless aliases and nesting', async () => {
    const bomb = ['a0: &a0 [x,x,x,x,x,x,x,x,x,x]'];
    for (let depth = 1; depth < 12; depth += 1) {
      bomb.push(
        `a${depth}: &a${depth} [${Array.from({ length: 10 }, () => `*a${depth - 1}`).join(',')}]`,
      );
    }
    assert.equal((await failureOf(load(bomb.join('\n')))).code, 'KUBECONFIG_INVALID');
    assert.equal((await failureOf(load('['.repeat(200_000)))).code, 'KUBECONFIG_INVALID');
  });
});
