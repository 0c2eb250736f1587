import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { stringify } from 'yaml';
import type { ConfigFlags } from '../../src/config/flags.ts';
import type { LoadedConfig } from '../../src/config/load.ts';
import { loadConfig } from '../../src/config/load.ts';
import { AgentError, describeError } from '../../src/core/errors.ts';

const environment = { hostName: 'Worker-1', workingDirectory: '/work dir' };
const head = 'apiVersion: nodecertd.io/v1alpha1\nkind: AgentConfiguration\n';

let directory = '';
let file = '';
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'nodecertd-config-'));
  file = join(directory, 'config.yaml');
});
after(async () => {
  await rm(directory, { recursive: true });
});

async function load(text: string | Uint8Array, flags: ConfigFlags = {}): Promise<LoadedConfig> {
  await writeFile(file, text);
  return loadConfig({ file, flags, environment });
}

async function failure(attempt: Promise<unknown>): Promise<AgentError> {
  const error: unknown = await attempt.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof AgentError, `expected an AgentError, got ${String(error)}`);
  return error;
}

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const key = privateKey.export({ format: 'pem', type: 'sec1' });

function certificate(yaml: string): string {
  return `${head}certificates:\n  - ${yaml}\n`;
}

describe('loadConfig() without a file', () => {
  it('has the two certificates of the kubelet by default', async () => {
    const config = await loadConfig({ flags: {}, environment });
    assert.deepEqual(config, {
      nodeName: 'worker-1',
      kubeconfig: '/etc/kubernetes/kubelet.conf',
      bootstrap: { deleteAfterUse: false },
      certificateDirectory: '/var/lib/kubelet/pki',
      stateDirectory: '/var/lib/nodecertd',
      certificates: [
        {
          name: 'kubelet-client',
          profile: 'kubelet-client',
          signerName: 'kubernetes.io/kube-apiserver-client-kubelet',
          subject: { commonName: 'system:node:worker-1', organizations: ['system:nodes'] },
          usages: ['digital signature', 'client auth'],
          key: 'ecdsa-p256',
          rotationWindow: { from: 0.7, to: 0.9 },
          addresses: 'static',
          static: { dnsNames: [], ipAddresses: [] },
          selfSignedUntilIssued: false,
        },
        {
          name: 'kubelet-server',
          profile: 'kubelet-serving',
          signerName: 'kubernetes.io/kubelet-serving',
          subject: { commonName: 'system:node:worker-1', organizations: ['system:nodes'] },
          usages: ['digital signature', 'server auth'],
          key: 'ecdsa-p256',
          rotationWindow: { from: 0.7, to: 0.9 },
          addresses: 'node',
          static: { dnsNames: [], ipAddresses: [] },
          selfSignedUntilIssued: true,
        },
      ],
      store: { previousPairs: 2, relativeLinks: false, acceptVolatileDirectory: false },
      addressRefreshSeconds: 1_800,
      kubelet: {
        configFile: '/var/lib/kubelet/config.yaml',
        certificateDirectory: '/var/lib/kubelet/pki',
        deferToKubelet: true,
      },
      metrics: { host: '127.0.0.1', port: 9_471, kubeletNames: false },
      inventory: { enabled: false, intervalSeconds: 600, paths: [] },
      log: { level: 'info', format: 'json' },
      warnings: [],
    });
  });

  it('applies every flag, with paths from the working directory', async () => {
    const config = await loadConfig({
      flags: {
        kubeconfig: 'kubelet.conf',
        bootstrapKubeconfig: '../bootstrap.conf',
        certDir: '/pki',
        hostnameOverride: 'Node-7',
        metricsAddress: '[::1]:0',
        logLevel: 'debug',
        logFormat: 'text',
        stateDir: 'state',
        kubeletConfig: 'kubelet.yaml',
        kubeletConfigDir: 'kubelet.d',
      },
      environment,
    });
    assert.equal(config.kubeconfig, '/work dir/kubelet.conf');
    assert.equal(config.bootstrapKubeconfig, '/bootstrap.conf');
    assert.equal(config.certificateDirectory, '/pki');
    assert.equal(config.stateDirectory, '/work dir/state');
    assert.equal(config.nodeName, 'node-7');
    assert.equal(config.certificates[0]?.subject.commonName, 'system:node:node-7');
    assert.deepEqual(config.metrics, { host: '::1', port: 0, kubeletNames: false });
    assert.deepEqual(config.log, { level: 'debug', format: 'text' });
    assert.deepEqual(config.kubelet, {
      configFile: '/work dir/kubelet.yaml',
      configDirectory: '/work dir/kubelet.d',
      certificateDirectory: '/var/lib/kubelet/pki',
      deferToKubelet: true,
    });
  });

  it('names the flag with an invalid value', async () => {
    const flags = { metricsAddress: '9471', logLevel: 'wran', certDir: '' };
    const { code, message } = await failure(loadConfig({ flags, environment }));
    assert.equal(code, 'CONFIG_INVALID');
    assert.match(message, /^the command line has 3 problems$/m);
    assert.match(message, /--metrics-address: expected host:port.*found "9471"/);
    assert.match(message, /--log-level: .*did you mean "warn"\?\), found "wran"/);
    assert.match(message, /--cert-dir: expected a string that is not empty/);
  });

  it('waits for a host name other than localhost unless nodeName is set', async () => {
    const local = { hostName: 'LocalHost.localdomain', workingDirectory: '/' };
    const waiting = await loadConfig({ flags: {}, environment: local });
    assert.equal(waiting.placeholderHostName, 'localhost.localdomain');
    const flags = { hostnameOverride: 'localhost' };
    const named = await loadConfig({ flags, environment: local });
    assert.deepEqual([named.nodeName, named.placeholderHostName], ['localhost', undefined]);
    const none = { hostName: '(none)', workingDirectory: '/' };
    assert.equal(
      (await loadConfig({ flags: {}, environment: none })).placeholderHostName,
      '(none)',
    );
  });

  it('gives a remedy if the host name cannot name a Node', async () => {
    const odd = { hostName: 'my_host', workingDirectory: '/' };
    const { message } = await failure(loadConfig({ flags: {}, environment: odd }));
    assert.match(message, /nodeName: .*"my_host".*--hostname-override/);
    const config = await loadConfig({ flags: { hostnameOverride: 'a' }, environment: odd });
    assert.equal(config.nodeName, 'a');
  });
});

describe('loadConfig() with a file', () => {
  it('resolves paths from the directory of the file, and applies flags', async () => {
    const config = await load(
      `${head}kubeconfig: a.conf\nbootstrapKubeconfig: /b.conf\ncertificateDirectory: pki\nlog: { level: error }\nmetrics: { kubeletNames: true }\n`,
      { logLevel: 'warn', certDir: 'other', metricsAddress: '127.0.0.1:1' },
    );
    assert.equal(config.file, file);
    assert.equal(config.kubeconfig, join(directory, 'a.conf'));
    assert.equal(config.bootstrapKubeconfig, '/b.conf');
    assert.equal(config.certificateDirectory, '/work dir/other');
    assert.deepEqual(config.log, { level: 'warn', format: 'json' });
    assert.deepEqual(config.metrics, { host: '127.0.0.1', port: 1, kubeletNames: true });
  });

  it('normalizes names, addresses and usages', async () => {
    const { certificates } = await load(
      certificate(
        `{ name: web, profile: custom, signerName: example.com/serving, subject: { commonName: web },
           usages: [server auth, digital signature, server auth], key: { algorithm: rsa-3072 }, expirationSeconds: 600,
           dnsNames: [B.example, a.example], ipAddresses: ["0:0::1", 10.0.0.1],
           addresses: { from: interfaces, dnsNames: [b.example], ipAddresses: ["::1", "::ffff:10.0.0.1"] } }`,
      ),
    );
    assert.deepEqual(certificates, [
      {
        name: 'web',
        profile: 'custom',
        signerName: 'example.com/serving',
        subject: { commonName: 'web', organizations: [] },
        usages: ['digital signature', 'server auth'],
        key: 'rsa-3072',
        rotationWindow: { from: 0.7, to: 0.9 },
        expirationSeconds: 600,
        addresses: 'interfaces',
        static: { dnsNames: ['a.example', 'b.example'], ipAddresses: ['10.0.0.1', '::1'] },
        selfSignedUntilIssued: false,
      },
    ]);
  });

  it('has the usage key encipherment with RSA keys only', async () => {
    for (const [algorithm, usages] of [
      ['rsa-2048', ['digital signature', 'key encipherment', 'client auth']],
      ['ed25519', ['digital signature', 'client auth']],
    ] as const) {
      const { certificates } = await load(
        certificate(`{ name: a, profile: kubelet-client, key: { algorithm: ${algorithm} } }`),
      );
      assert.deepEqual(certificates[0]?.usages, usages);
    }
  });

  it('resolves anchors', async () => {
    const config = await load(
      `${head}stateDirectory: &d /data\ncertificateDirectory: *d\nkubeconfig: /k\n`,
    );
    assert.equal(config.certificateDirectory, '/data');
  });

  it('warns of questionable settings', async () => {
    const { warnings } = await load(
      `${certificate(
        '{ name: a, profile: custom, signerName: a.b/c, subject: { commonName: a }, usages: [client auth, key encipherment] }',
      )}metrics: { address: "0.0.0.0:9471" }\n`,
    );
    assert.equal(warnings.length, 2);
    assert.match(warnings[0] ?? '', /0\.0\.0\.0:9471 is open to the network/);
    assert.match(warnings[1] ?? '', /certificate a has the usage key encipherment.*ecdsa-p256/);
  });

  const durations: readonly (readonly [string, number])[] = [
    ['90s', 90],
    ['1h30m', 5_400],
    ['0s', 0],
  ];
  for (const [text, seconds] of durations) {
    it(`reads addressRefresh ${text} as ${seconds} s`, async () => {
      const config = await load(`${head}addressRefresh: ${text}\n`);
      assert.equal(config.addressRefreshSeconds, seconds);
    });
  }
});

const custom = 'profile: custom, signerName: a.b/c, subject: { commonName: a }';
const client = 'name: a, profile: kubelet-client';

/** Name, file without its head, and the expected message. */
const refused: readonly (readonly [string, string, RegExp])[] = [
  [
    'an unknown key',
    'certDirectory: /x',
    /:3: certDirectory: unknown key; did you mean "certificateDirectory"\?$/,
  ],
  [
    'a key without a similar one',
    'quux: 1',
    /:3: quux: unknown key; known here: apiVersion, kind, /,
  ],
  [
    'an unknown key of an inner map',
    'store:\n  previousPair: 1',
    /:4: store.previousPair: .*"previousPairs"/,
  ],
  ['a reserved word as key', '__proto__: { a: 1 }', /:3: __proto__: unknown key/],
  ['a duplicate key', 'nodeName: a\nnodeName: b', /:4: the key nodeName exists twice$/],
  ['a second document', '---\nkind: x', /:3: expected one YAML document/],
  ['an unknown tag', 'nodeName: !env HOST', /:3: not valid YAML: unresolved tag: !env$/],
  ['an alias without an anchor', 'nodeName: *x', /unresolved alias .*: x$/],
  ['broken syntax', 'metrics: { address', /:\d: not valid YAML: /],
  [
    'a string for a list',
    'certificates: kubelet',
    /:3: certificates: expected a list, found "kubelet"$/,
  ],
  ['a list for a map', 'metrics: [a]', /:3: metrics: expected a map, found a list$/],
  ['null for a string', 'kubeconfig:', /:3: kubeconfig: expected a string, found null$/],
  ['no certificates', 'certificates: []', /:3: certificates: expected at least one, found a list$/],
  ['a bad node name', 'nodeName: a_b', /:3: nodeName: expected the name of a Node .*found "a_b"$/],
  ['a short refresh', 'addressRefresh: 1s', /:3: addressRefresh: expected 0s .*found "1s"$/],
  [
    'a long refresh',
    'addressRefresh: 25h',
    /:3: addressRefresh: expected at most 24h, found "25h"$/,
  ],
  ['a number as refresh', 'addressRefresh: 30', /:3: addressRefresh: expected a string, found 30$/],
  [
    'negative retention',
    'store: { previousPairs: -1 }',
    /previousPairs: expected 0 or more, found -1$/,
  ],
  ['a fraction of a pair', 'store: { previousPairs: 1.5 }', /expected a whole number, found 1.5$/],
  [
    'a metrics address without host',
    'metrics: { address: ":9471" }',
    /metrics.address: expected host:port/,
  ],
  [
    'one file for both kubeconfigs',
    'kubeconfig: k\nbootstrapKubeconfig: ./k',
    /:4: bootstrapKubeconfig: is the same file as kubeconfig/,
  ],
];

/** The same for one certificate, which is in line 4. */
const refusedCertificates: readonly (readonly [string, string, RegExp])[] = [
  [
    'no profile',
    'name: a',
    /:4: certificates\[0\]\.profile: is required: expected one of kubelet-client, /,
  ],
  [
    'an unknown profile',
    'name: a, profile: kubelet-sering',
    /did you mean "kubelet-serving"\?\), found "kubelet-sering"$/,
  ],
  ['no name', 'profile: kubelet-client', /certificates\[0\]\.name: is required$/],
  [
    'a bad name',
    'name: A, profile: kubelet-client',
    /certificates\[0\]\.name: expected at most 63 .*found "A"$/,
  ],
  [
    'a link as name',
    'name: x-current, profile: kubelet-client',
    /must not end in -current or -updated/,
  ],
  [
    'a timestamp as name',
    'name: x-2026-01-02-03-04-05, profile: kubelet-client',
    /must not contain a timestamp/,
  ],
  [
    'a signer for a kubelet profile',
    `${client}, signerName: a.b/c`,
    /signerName: does not apply to profile kubelet-client/,
  ],
  [
    'a subject for a kubelet profile',
    `${client}, subject: {}`,
    /subject: does not apply to profile kubelet-client/,
  ],
  [
    'usages for a kubelet profile',
    `${client}, usages: []`,
    /usages: does not apply to profile kubelet-client/,
  ],
  [
    'names in a client certificate',
    `${client}, dnsNames: [a]`,
    /dnsNames: does not apply to profile kubelet-client/,
  ],
  [
    'a lifetime below the minimum',
    `${client}, expirationSeconds: 599`,
    /refuses less than 600, found 599$/,
  ],
  [
    'a lifetime beyond int32',
    `${client}, expirationSeconds: 2147483648`,
    /at most 2147483647, found 2147483648$/,
  ],
  [
    'an unknown algorithm',
    `${client}, key: { algorithm: ecdsa-p265 }`,
    /key\.algorithm: .*did you mean "ecdsa-p256"\?\)/,
  ],
  ['no usages', `name: a, ${custom}`, /usages: is required$/],
  ['empty usages', `name: a, ${custom}, usages: []`, /usages: expected at least one usage/],
  [
    'a wrong usage',
    `name: a, ${custom}, usages: [client-auth]`,
    /usages\[0\]: .*did you mean "client auth"\?\)/,
  ],
  [
    'no signer',
    'name: a, profile: custom, subject: { commonName: a }, usages: [any]',
    /signerName: is required$/,
  ],
  [
    'a signer without domain',
    'name: a, profile: custom, signerName: x, subject: { commonName: a }, usages: [any]',
    /signerName: expected a signer name .*found "x"$/,
  ],
  [
    'no common name',
    'name: a, profile: custom, signerName: a.b/c, subject: {}, usages: [any]',
    /subject\.commonName: is required$/,
  ],
  [
    'an address among names',
    `name: a, ${custom}, usages: [any], dnsNames: [10.0.0.1]`,
    /dnsNames\[0\]: is an IP address/,
  ],
  [
    'a bad address',
    `name: a, ${custom}, usages: [any], ipAddresses: [10.0.0.256]`,
    /ipAddresses\[0\]: expected an IP address, found "10.0.0.256"$/,
  ],
  [
    'a server without names',
    `name: a, ${custom}, usages: [server auth]`,
    /a serving certificate needs a name/,
  ],
  [
    'a static kubelet server without names',
    'name: a, profile: kubelet-serving, addresses: { from: static }',
    /addresses\.from: a serving certificate needs a name/,
  ],
  [
    'a self-signed client',
    `name: a, ${custom}, usages: [client auth], selfSignedUntilIssued: true`,
    /selfSignedUntilIssued: only a serving certificate/,
  ],
];

describe('loadConfig() refuses', () => {
  for (const [name, text, expected] of refused) {
    it(`refuses ${name} and names the place`, async () => {
      const { code, message } = await failure(load(`${head}${text}\n`));
      assert.equal(code, 'CONFIG_INVALID');
      assert.ok(message.startsWith(file), message);
      assert.match(message, expected);
      assert.equal(message.split('\n').length, 1, message);
    });
  }
  for (const [name, text, expected] of refusedCertificates) {
    it(`refuses ${name} and names the place`, async () => {
      const { code, message } = await failure(load(certificate(`{ ${text} }`)));
      assert.equal(code, 'CONFIG_INVALID');
      assert.ok(message.startsWith(`${file}:4: certificates[0]`), message);
      assert.match(message, expected);
      assert.equal(message.split('\n').length, 1, message);
    });
  }

  const misspelled: readonly (readonly [string, string, readonly RegExp[]])[] = [
    [
      'a misspelled profile and every other bad key',
      'profil: custom\n    signer: a.b/c\n    subject: { commonNam: a }\n    quux: 1',
      [
        /:4: certificates\[0\]\.profile: is required: expected one of kubelet-client, /,
        /:5: certificates\[0\]\.profil: unknown key; did you mean "profile"\?$/,
        /:6: certificates\[0\]\.signer: unknown key; did you mean "signerName"\?$/,
        /:7: certificates\[0\]\.subject\.commonNam: unknown key; did you mean "commonName"\?$/,
        /:8: certificates\[0\]\.quux: unknown key; known here: name, .*usages/,
      ],
    ],
    [
      'a key that does not apply to the intended profile',
      'Profile: kubelet-client\n    dnsNames: [a]',
      [
        /:4: certificates\[0\]\.profile: is required/,
        /:5: certificates\[0\]\.Profile: unknown key; did you mean "profile"\?$/,
        /:6: certificates\[0\]\.dnsNames: does not apply to profile kubelet-client/,
      ],
    ],
    [
      'only unknown keys beside an unknown profile',
      'profile: kubelet-sering\n    dnsNames: [a]\n    adresses: { from: node }',
      [
        /:5: certificates\[0\]\.profile: .*did you mean "kubelet-serving"\?\)/,
        /:7: certificates\[0\]\.adresses: unknown key; did you mean "addresses"\?$/,
      ],
    ],
    [
      'unknown keys without a profile',
      'expirationSecond: 600',
      [
        /:4: certificates\[0\]\.profile: is required/,
        /:5: certificates\[0\]\.expirationSecond: unknown key; did you mean "expirationSeconds"\?$/,
      ],
    ],
  ];
  for (const [name, keys, expected] of misspelled) {
    it(`names ${name}`, async () => {
      const { code, message } = await failure(load(certificate(`name: a\n    ${keys}`)));
      assert.equal(code, 'CONFIG_INVALID');
      const [, ...lines] = message.split('\n');
      assert.equal(lines.length, expected.length, message);
      for (const [index, pattern] of expected.entries()) assert.match(lines[index] ?? '', pattern);
    });
  }

  it('reports all problems in the order of the file', async () => {
    const { message } = await failure(
      load(`${head}nodName: x
certificates:
  - { name: a, profile: kubelet-client }
  - { name: a, profile: kubelet-client, expirationSeconds: 1 }
  - 7
log: { level: loud }
`),
    );
    const [title, ...lines] = message.split('\n');
    assert.equal(title, `${file} has 6 problems`);
    assert.deepEqual(
      lines.map((line) => line.replace(file, '').replace(/^\s*:(\d+: [^:]+):.*/, '$1')),
      [
        '3: nodName',
        '6: certificates[1].expirationSeconds',
        '6: certificates[1].name',
        '6: certificates[1].profile',
        '7: certificates[2]',
        '8: log.level',
      ],
    );
  });

  it('refuses an alias bomb', async () => {
    const levels = Array.from({ length: 9 }, (_, level) => {
      const inner = level === 0 ? 'x' : `*a${level - 1}`;
      return `a${level}: &a${level} [${Array.from({ length: 9 }, () => inner).join(', ')}]`;
    });
    const started = performance.now();
    const { code, message } = await failure(load(`${levels.join('\n')}\n`));
    assert.equal(code, 'CONFIG_INVALID');
    assert.match(message, /excessive alias count/);
    assert.ok(performance.now() - started < 2_000);
  });

  it('refuses deep nesting in a short message', async () => {
    const { code, message } = await failure(load('['.repeat(100_000)));
    assert.equal(code, 'CONFIG_INVALID');
    assert.ok(message.split('\n').length < 60);
  });
});

async function remedied(attempt: Promise<unknown>, code: string, text: RegExp): Promise<void> {
  const error = await failure(attempt);
  assert.equal(error.code, code);
  assert.match(error.message, text);
  assert.ok(error.remedy);
}

describe('loadConfig() cannot read', () => {
  it('reports a missing file', async () => {
    const missing = loadConfig({ file: 'no/such.yaml', flags: {}, environment });
    await remedied(missing, 'CONFIG_UNREADABLE', /\/work dir\/no\/such\.yaml does not exist$/);
  });

  it('refuses a directory', async () => {
    await remedied(
      loadConfig({ file: directory, flags: {}, environment }),
      'CONFIG_UNREADABLE',
      /not a regular file/,
    );
  });

  for (const [what, text] of [
    ['a key file', key],
    ['a key file that lost its first line', key.split('\n').slice(1).join('\n')],
    ['a key where a value belongs', `${head}nodeName: "${key.replaceAll('\n', '\\n')}"\n`],
    ['a key where a name belongs', `${head}? |\n  ${key.replaceAll('\n', '\n  ')}\n: x\n`],
    ['a key after a tag', `${head}nodeName: !${key.split('\n')[1]} x\n`],
    ['a key after an asterisk', `${head}nodeName: *${key.split('\n')[1]}\n`],
  ] as const) {
    it(`quotes nothing of ${what}`, async () => {
      const error = await failure(load(text));
      assert.equal(error.code, 'CONFIG_INVALID');
      const message = describeError(error);
      const body = key.split('\n').slice(1, -2).join('');
      for (let at = 16; at + 12 < body.length; at += 4) {
        assert.ok(!message.includes(body.slice(at, at + 12)), message);
      }
    });
  }

  it('writes no control characters to the terminal', async () => {
    const odd = '\u001b[31m\u0007\u202e\u2028\u009b';
    const names = [`!x${odd} y`, `*${odd}`, `"${odd}"`].map((value) => `nodeName: ${value}`);
    for (const text of [...names, `"${odd}": 1`]) {
      const message = describeError(await failure(load(`${head}${text}\n`)));
      assert.doesNotMatch(message, /(?!\n)[\p{C}\p{Zl}\p{Zp}]/u);
    }
  });

  it('refuses more than 1 MiB', async () => {
    await remedied(load(`#${'x'.repeat(1024 * 1024)}`), 'CONFIG_UNREADABLE', /more than 1 MiB/);
  });

  it('refuses a file that is not UTF-8', async () => {
    await remedied(load(Uint8Array.of(0x6b, 0xff, 0xfe)), 'CONFIG_INVALID', /not UTF-8/);
  });

  it('reports a dangling link', async () => {
    const link = join(directory, 'loop');
    await symlink(link, link);
    await remedied(
      loadConfig({ file: link, flags: {}, environment }),
      'CONFIG_UNREADABLE',
      /cannot be read/,
    );
  });

  it('reads a file behind the links of a mounted ConfigMap', async () => {
    const mount = join(directory, 'mount');
    await mkdir(join(mount, '..1'), { recursive: true });
    await writeFile(join(mount, '..1', 'config.yaml'), head);
    await symlink('..1', join(mount, '..data'));
    await symlink('..data/config.yaml', join(mount, 'config.yaml'));
    const config = await loadConfig({ file: join(mount, 'config.yaml'), flags: {}, environment });
    assert.equal(config.certificates.length, 2);
  });
});

/** Resolves for a configuration or an AgentError. Any other error fails the property. */
async function settles(text: string): Promise<void> {
  try {
    const config = await load(text);
    assert.ok(config.certificates.length > 0);
  } catch (error) {
    assert.ok(error instanceof AgentError, `${String(error)} on ${JSON.stringify(text)}`);
    assert.match(error.code, /^CONFIG_(INVALID|UNREADABLE)$/);
    assert.ok(error.message.includes(file));
  }
}

describe('loadConfig() on random input', () => {
  it('returns a configuration or throws an AgentError for any text', async () => {
    await fc.assert(fc.asyncProperty(fc.string({ unit: 'binary' }), settles), { numRuns: 150 });
  });

  it('returns or throws an AgentError for any text of YAML characters', async () => {
    const sign = fc.constantFrom(
      'a',
      ': ',
      '- ',
      '\n',
      '  ',
      '[',
      ']',
      '{',
      '}',
      '&x ',
      '*x ',
      '!t ',
      '"',
      "'",
      '|',
      '? ',
      '<<',
      '#',
      '---\n',
      'certificates',
      'metrics',
      'name',
      'profile',
      'custom',
      '1',
      '.nan',
    );
    const text = fc.array(sign, { maxLength: 30 }).map((signs) => signs.join(''));
    await fc.assert(
      fc.asyncProperty(text, async (body) => {
        await settles(body);
        await settles(head + body);
      }),
      { numRuns: 300 },
    );
  });

  it('returns or throws an AgentError for any value of the known keys', async () => {
    const value = fc.oneof(
      fc.constantFrom('custom', 'static', '30m', '70%', '127.0.0.1:1', 'a', 600, true),
      fc.jsonValue({ maxDepth: 2 }),
    );
    const optional = { requiredKeys: [] };
    const kinds = { command: value, systemctl: value, signal: value };
    const limits = { unit: value, timeout: value, retries: value };
    const hook = fc.record({ ...kinds, ...limits }, optional);
    const rotation = fc.oneof(value, fc.record({ from: value, to: value }, optional));
    const entry = fc.record(
      {
        name: value,
        profile: fc.constantFrom('kubelet-client', 'kubelet-serving', 'custom'),
        signerName: value,
        subject: fc.oneof(value, fc.record({ commonName: value })),
        usages: fc.oneof(value, fc.constant(['client auth'])),
        addresses: fc.oneof(value, fc.record({ from: value, dnsNames: value }, optional)),
        key: value,
        rotation,
        ipAddresses: value,
        onRotate: fc.oneof(value, fc.array(fc.oneof(hook, value), { maxLength: 3 })),
        served: fc.oneof(
          value,
          fc.record({ endpoints: fc.oneof(value, fc.array(value)), within: value }, optional),
        ),
      },
      optional,
    );
    const document = fc.record(
      {
        nodeName: value,
        kubeconfig: value,
        certificates: fc.oneof(value, fc.array(fc.oneof(entry, value), { maxLength: 3 })),
        metrics: fc.oneof(value, fc.record({ address: value })),
        addressRefresh: value,
        rotation,
        log: value,
      },
      optional,
    );
    await fc.assert(
      fc.asyncProperty(document, (fields) =>
        settles(head + stringify(fields).replace(/^\{\}/, '')),
      ),
      { numRuns: 300 },
    );
  });
});
