import type { Corpus } from './corpus.ts';

/** Typical kubeconfigs, with a canary instead of each secret. */
export function kubeconfigs(corpus: Corpus): Uint8Array[] {
  const [pair = new Uint8Array()] = corpus.pairs.slice(-1);
  const split = Buffer.from(pair).lastIndexOf('-----BEGIN');
  const users = [
    `token: ${corpus.token}`,
    `token: "${corpus.token}"\n    tokenFile: token`,
    `client-certificate-data: ${data(pair.subarray(0, split))}\n    client-key-data: ${data(pair.subarray(split))}`,
    'client-certificate: pair.pem\n    client-key: pair.pem',
    `client-certificate: pair.pem\n    client-key: |\n      ${Buffer.from(pair.subarray(split)).toString().trim().replaceAll('\n', '\n      ')}`,
    `client-certificate: pair.pem\n    client-key: ${data(pair.subarray(split))}`,
    `tokenFile: ${corpus.token}`,
    `username: admin\n    password: ${corpus.token}`,
    `exec: {command: aws, env: [{name: TOKEN, value: ${corpus.token}}]}`,
    `exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, interactiveMode: Never, env: [{name: TOKEN, value: ${corpus.token}}]}`,
    `token: ${corpus.token}\n    as: system:node:n1\n    as-groups: [system:nodes]\n    as-user-extra: {scopes: [a]}`,
  ];
  return users.map((user, index) =>
    Buffer.from(`apiVersion: v1
kind: Config
# written by a tool
clusters:
- name: default-cluster
  cluster:
    server: https://127.0.0.1:6443
    certificate-authority-data: ${data(corpus.authority)}
${index % 2 === 0 ? '' : `    proxy-url: http://proxy:${corpus.token}@127.0.0.1:3128\n    tls-server-name: kubernetes\n`}contexts:
- name: default-context
  context: &context
    cluster: default-cluster
    namespace: default
    user: default-auth
current-context: default-context
preferences: {}
users:
- name: default-auth
  user:
    ${user}
`),
  );
}

function data(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}

/** Configurations, and two files of other kinds. */
export function configurations(corpus: Corpus): Uint8Array[] {
  const head = 'apiVersion: nodecertd.io/v1alpha1\nkind: AgentConfiguration\n';
  const keys = corpus.keys.map(({ label, der }) => {
    const body =
      Buffer.from(der)
        .toString('base64')
        .match(/.{1,64}/g) ?? [];
    return `-----BEGIN ${label}-----\n${body.join('\n')}\n-----END ${label}-----\n`;
  });
  const texts = [
    head,
    `${head}nodeName: worker-1
kubeconfig: kubelet.conf
bootstrapKubeconfig: bootstrap.conf
certificateDirectory: pki
stateDirectory: state
certificates:
- name: kubelet-client
  profile: kubelet-client
  expirationSeconds: 86400
- name: kubelet-server
  profile: kubelet-serving
  key: {algorithm: rsa-2048}
  addresses: &a {from: static, dnsNames: [worker-1], ipAddresses: [10.0.0.1, "fd00::1"]}
- name: etcd
  profile: custom
  signerName: example.com/etcd
  subject: {commonName: etcd, organizations: [a, b]}
  usages: [digital signature, server auth, client auth]
  addresses: *a
  dnsNames: [etcd.example.com, "*.example.com"]
  selfSignedUntilIssued: true
  onRotate:
  - command: [/usr/local/bin/deploy, --now]
    timeout: 1m30s
    retries: 0
  - {systemctl: reload-or-restart, unit: "nginx@a.service"}
  - {signal: SIGUSR2, unit: haproxy.service}
  served: {endpoints: ["127.0.0.1:10250", "[::1]:1", "a.example.com:443"], serverName: a, within: 5s, onFailure: rollback}
store: {previousPairs: 3, relativeLinks: true, acceptVolatileDirectory: false}
addressRefresh: 1h30m
metrics:
  address: "[::1]:9471"
  kubeletNames: true
log:
  level: debug
  format: text
`,
    `${head}certificates:\n- <<: {profile: custom}\n  name: x\nmetrics: {address: 127.0.0.1:0}\n`,
    ...keys,
  ];
  return [...texts.map((text) => Buffer.from(text)), ...kubeconfigs(corpus).slice(0, 3)];
}

/** Rare features of YAML, and nested aliases that grow exponentially. */
export const yamlWords: readonly string[] = [
  '&a ',
  '*a',
  '*context',
  '<<: *a\n',
  '<<: *context\n',
  '!!binary ',
  '!!js/function ',
  '!<x> ',
  '---\n',
  '...\n',
  '%YAML 1.1\n',
  '%TAG ! x:\n',
  '? ',
  ': ',
  '- ',
  '\t',
  '|\n',
  '>-\n',
  '"',
  "'",
  '__proto__: ',
  'constructor: ',
  '.inf',
  '0x7fffffffffffffff',
  '1e999',
  '2026-01-01',
  '~',
  '#',
  '{',
  '}',
  '[',
  ']',
  ', ',
  '\0',
  '\u0085',
  '\u2028',
  '\ud83d\ude00',
  '\r',
  '@',
  '`',
  '\\x1b[31m',
  '['.repeat(3_000),
  '{a: '.repeat(3_000),
  '- '.repeat(3_000),
  '&x [*x]\n',
  laughs(),
];

function laughs(): string {
  const levels = Array.from(
    { length: 12 },
    (_, level) => `l${level + 1}: &l${level + 1} [${`*l${level},`.repeat(9)}]\n`,
  );
  return `l0: &l0 [ha]\n${levels.join('')}`;
}

export function states(): Uint8Array[] {
  return [
    {},
    { certificates: {} },
    {
      pid: 4711,
      startedAt: 1_767_225_600_000,
      metricsAddress: '127.0.0.1:9471',
      certificates: {
        'kubelet-client': { outstanding: [{ csr: 'csr-abc', createdAt: 1_767_225_600_000 }] },
        'kubelet-server': {
          outstanding: [],
          hooksPending: '4f2a',
          rolledBack: { from: '4f2b', to: '4f2a', count: 2, until: 1_767_225_600_000 },
        },
        '/etc/kubernetes': {
          outstanding: [],
          renewed: ['apiserver'],
          reported: { apiserver: '4f2b' },
        },
      },
    },
  ].map((state) => Buffer.from(JSON.stringify(state)));
}
