import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { Secret } from '../../src/core/secret.ts';
import { loadKubeconfig } from '../../src/kube/kubeconfig.ts';
import type { KubeconfigCluster } from '../../src/store/kubeconfig-text.ts';
import { bootstrapKubeconfig, kubeletKubeconfig } from '../../src/store/kubeconfig-text.ts';
import { makePair, temporaryDirectory } from './pairs.ts';

const certificatePath = '/var/lib/kubelet/pki/kubelet-client-current.pem';
const authority = Uint8Array.from({ length: 300 }, (_, index) => index * 7);
const authorityText = Buffer.from(authority).toString('base64');

/**
 * The lines of the cluster that clientcmd.WriteToFile of client-go v0.37.2 writes for these
 * values.
 */
const clusters: readonly (readonly [string, KubeconfigCluster, readonly string[]])[] = [
  [
    'a CA file',
    {
      server: 'https://10.0.0.1:6443',
      certificateAuthority: { pem: authority, file: '/etc/kubernetes/pki/ca.crt' },
      insecureSkipTlsVerify: false,
    },
    ['certificate-authority: /etc/kubernetes/pki/ca.crt', 'server: https://10.0.0.1:6443'],
  ],
  [
    'CA data, a TLS server name and a proxy',
    {
      server: 'https://[fd00::1]:6443',
      certificateAuthority: { pem: authority },
      tlsServerName: 'kubernetes.default',
      proxyUrl: 'http://proxy:3128',
      insecureSkipTlsVerify: false,
    },
    [
      `certificate-authority-data: ${authorityText}`,
      'proxy-url: http://proxy:3128',
      'server: https://[fd00::1]:6443',
      'tls-server-name: kubernetes.default',
    ],
  ],
  [
    'no verification',
    { server: 'https://api:6443', insecureSkipTlsVerify: true },
    ['insecure-skip-tls-verify: true', 'server: https://api:6443'],
  ],
  ...['true', 'yes', 'n', '~', '10.0', '017', '0o17', '1e3', '12:30:45', '2026-01-01'].map(
    (name): readonly [string, KubeconfigCluster, readonly string[]] => [
      `the name ${name}, which YAML takes for something else`,
      { server: 'https://api:6443', tlsServerName: name, insecureSkipTlsVerify: false },
      ['server: https://api:6443', `tls-server-name: "${name}"`],
    ],
  ),
];

for (const [title, cluster, lines] of clusters) {
  test(`kubeletKubeconfig() writes the text of a kubelet for ${title}`, () => {
    const expected = `apiVersion: v1
clusters:
- cluster:
${lines.map((line) => `    ${line}`).join('\n')}
  name: default-cluster
contexts:
- context:
    cluster: default-cluster
    namespace: default
    user: default-auth
  name: default-context
current-context: default-context
kind: Config
users:
- name: default-auth
  user:
    client-certificate: ${certificatePath}
    client-key: ${certificatePath}
`;
    assert.equal(kubeletKubeconfig({ cluster, certificatePath }), expected);
  });
}

test('kubeletKubeconfig() quotes values so that YAML readers return them unchanged', async (t) => {
  const directory = await temporaryDirectory(t);
  const path = join(directory, 'kubelet.conf');
  const pair = join(directory, 'kubelet-client-current.pem');
  await writeFile(pair, (await makePair()).pem);
  const { certificatePem } = await makePair();
  // YAML reads some of these as numbers, dates, booleans, null or syntax.
  const odd = fc.constantFrom(
    'yes',
    '~',
    '0x10',
    '0o17',
    '1e3',
    '12:30:45',
    '- a',
    '# b',
    "'",
    '!c',
  );
  const value = fc.oneof(odd, fc.string({ unit: 'grapheme', minLength: 1 }));
  const clusters = fc.record(
    {
      server: fc.webUrl({ validSchemes: ['https'] }).map((url) => new URL(url).origin),
      insecureSkipTlsVerify: fc.constant(false),
      certificateAuthority: fc.constant({ pem: new Uint8Array(certificatePem) }),
      tlsServerName: value,
      proxyUrl: fc.tuple(value, value).map(([user, password]) => {
        const [name, secret] = [user, password].map(encodeURIComponent);
        return `http://${name}:${secret}@proxy:3128`;
      }),
    },
    { requiredKeys: ['server', 'insecureSkipTlsVerify'] },
  );
  await fc.assert(
    fc.asyncProperty(clusters, async (cluster) => {
      await writeFile(path, kubeletKubeconfig({ cluster, certificatePath: pair }));
      using access = await loadKubeconfig(path);
      assert.deepEqual(access.cluster, { ...cluster });
      assert.equal(access.credential.token, undefined);
      assert.ok(access.credential.clientCertificate !== undefined);
    }),
  );
});

test('bootstrapKubeconfig() writes what kubeadm join writes', () => {
  const cluster = {
    server: 'https://10.0.0.1:6443',
    certificateAuthority: { pem: authority },
    insecureSkipTlsVerify: false,
  };
  const token = new Secret(Buffer.from('abcdef.0123456789abcdef'));
  const text = bootstrapKubeconfig(cluster, { kind: 'token', token });
  assert.equal(
    Buffer.from(text.expose()).toString(),
    `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: ${authorityText}
    server: https://10.0.0.1:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: tls-bootstrap-token-user
  name: tls-bootstrap-token-user@kubernetes
current-context: tls-bootstrap-token-user@kubernetes
kind: Config
users:
- name: tls-bootstrap-token-user
  user:
    token: 'abcdef.0123456789abcdef'
`,
  );
});

test('bootstrapKubeconfig() keeps tokens that YAML reads as another type', async (t) => {
  const path = join(await temporaryDirectory(t), 'bootstrap.conf');
  const { certificatePem } = await makePair();
  const cluster = {
    server: 'https://10.0.0.1:6443',
    certificateAuthority: { pem: new Uint8Array(certificatePem) },
    insecureSkipTlsVerify: false,
  };
  for (const token of ['123456.0123456789012345', '1e2345.0000000000000000', `it's`, `''#: "\\`]) {
    const secret = new Secret(new TextEncoder().encode(token));
    const text = bootstrapKubeconfig(cluster, { kind: 'token', token: secret });
    await writeFile(path, text.expose());
    using access = await loadKubeconfig(path);
    assert.equal(Buffer.from(access.credential.token?.expose() ?? []).toString(), token);
    assert.deepEqual(access.cluster, cluster);
  }
});
