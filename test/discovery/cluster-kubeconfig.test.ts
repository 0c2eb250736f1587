import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { AgentError } from '../../src/core/errors.ts';
import { parsePem } from '../../src/core/pem.ts';
import { readClusterKubeconfig } from '../../src/discovery/cluster-kubeconfig.ts';
import { base64 } from '../kube/support/api-server.ts';
import type { Authority } from '../kube/support/certificates.ts';
import { makeAuthority } from '../kube/support/certificates.ts';

let authority: Authority;
let other: Authority;

before(async () => {
  [authority, other] = await Promise.all([makeAuthority('kubernetes'), makeAuthority('other')]);
});

interface Parts {
  readonly cluster?: Readonly<Record<string, unknown>>;
  readonly document?: Readonly<Record<string, unknown>>;
}

function kubeconfig({ cluster = {}, document = {} }: Parts = {}): string {
  const entry = {
    server: 'https://10.0.0.1:6443',
    'certificate-authority-data': base64(authority.pem),
    ...cluster,
  };
  return JSON.stringify({ kind: 'Config', clusters: [{ name: '', cluster: entry }], ...document });
}

function derOf({ pem }: Authority): Uint8Array | undefined {
  return parsePem(Buffer.from(pem))[0]?.der;
}

describe('readClusterKubeconfig()', () => {
  it('reads the YAML that kubeadm writes', () => {
    const text = [
      'apiVersion: v1',
      'clusters:',
      '- cluster:',
      `    certificate-authority-data: ${base64(authority.pem)}`,
      '    server: https://cluster.example.com:6443',
      '  name: ""',
      'contexts: null',
      'current-context: ""',
      'kind: Config',
      'users: null',
      '',
    ].join('\n');
    assert.deepEqual(readClusterKubeconfig(text), {
      server: 'https://cluster.example.com:6443',
      certificates: [derOf(authority)],
      warnings: [],
    });
  });

  it('returns the CAs in their order, and each once', () => {
    const bundle = other.pem + authority.pem + other.pem;
    const cluster = { 'certificate-authority-data': base64(bundle) };
    const { certificates } = readClusterKubeconfig(kubeconfig({ cluster }));
    assert.deepEqual(certificates, [derOf(other), derOf(authority)]);
  });

  it('keeps IPv6 addresses, a path and a missing port of the server', () => {
    for (const server of ['https://[fd00::1]:6443', 'https://example.com', 'https://a.b:1/k8s']) {
      assert.equal(readClusterKubeconfig(kubeconfig({ cluster: { server } })).server, server);
    }
  });

  it('warns about users, plugins, proxies and other settings', () => {
    const text = kubeconfig({
      cluster: {
        'proxy-url': 'http://p:1',
        'insecure-skip-tls-verify': true,
        'tls-server-name': '',
      },
      document: { users: [{ name: 'x', user: { exec: { command: 'sh' } } }] },
    });
    assert.deepEqual(readClusterKubeconfig(text).warnings, [
      'cluster-info sets proxy-url, which nodecertd ignores',
      'cluster-info sets insecure-skip-tls-verify, which nodecertd ignores',
      'cluster-info contains a user with an exec plugin, which nodecertd ignores',
    ]);
  });

  const refused: readonly {
    readonly what: string;
    readonly text: () => string;
    readonly message: RegExp;
  }[] = [
    { what: 'an empty text', text: () => '', message: /cluster-info, line 1: clusters is missing/ },
    {
      what: 'text that is not YAML',
      text: () => 'a: [',
      message: /cluster-info, line 1: invalid YAML/,
    },
    {
      what: 'no cluster',
      text: () => kubeconfig({ document: { clusters: [] } }),
      message: /has 0 clusters, expected 1/,
    },
    {
      what: 'two clusters',
      text: () =>
        kubeconfig({
          document: {
            clusters: [
              { name: 'a', cluster: {} },
              { name: 'b', cluster: {} },
            ],
          },
        }),
      message: /has 2 clusters, expected 1/,
    },
    {
      what: 'an http server',
      text: () => kubeconfig({ cluster: { server: 'http://10.0.0.1:8080' } }),
      message: /names the server "http:\/\/10\.0\.0\.1:8080", which is not an https:\/\/ URL/,
    },
    {
      what: 'a server with a user',
      text: () => kubeconfig({ cluster: { server: 'https://me@10.0.0.1:6443' } }),
      message: /which is not an https:\/\/ URL/,
    },
    {
      what: 'no CA',
      text: () => kubeconfig({ cluster: { 'certificate-authority-data': '' } }),
      message: /has no certificate-authority-data/,
    },
    {
      what: 'a CA in a file',
      text: () =>
        kubeconfig({
          cluster: {
            'certificate-authority-data': null,
            'certificate-authority': '/etc/kubernetes/pki/ca.crt',
          },
        }),
      message: /has no certificate-authority-data/,
    },
    {
      what: 'a CA that is not base64',
      text: () => kubeconfig({ cluster: { 'certificate-authority-data': '%%%' } }),
      message: /is not PEM in base64/,
    },
    {
      what: 'base64 without PEM',
      text: () => kubeconfig({ cluster: { 'certificate-authority-data': base64('nothing') } }),
      message: /has no certificate in certificate-authority-data/,
    },
    {
      what: 'a truncated PEM block after a CA',
      text: () =>
        kubeconfig({
          cluster: {
            'certificate-authority-data': base64(authority.pem + other.pem.slice(0, 80)),
          },
        }),
      message: /is not PEM in base64/,
    },
    {
      what: 'a PEM block that is no certificate',
      text: () => {
        const key = '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n';
        return kubeconfig({
          cluster: { 'certificate-authority-data': base64(authority.pem + key) },
        });
      },
      message: /has a PEM block PUBLIC KEY among its CAs/,
    },
  ];
  for (const { what, text, message } of refused) {
    it(`refuses ${what}`, () => {
      assert.throws(
        () => readClusterKubeconfig(text()),
        (error) => {
          assert.ok(error instanceof AgentError);
          assert.equal(error.code, 'API_BAD_RESPONSE');
          assert.match(error.message, message);
          assert.match(error.remedy ?? '', /kubectl --namespace kube-public edit configmap/);
          return true;
        },
      );
    });
  }
});
