import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Step } from '../../src/adopt/plan.ts';
import { redactText, redactYaml, stepDiff } from '../../src/adopt/step-diff.ts';

describe('redactYaml()', () => {
  it('shows the size of a secret, and everything else unchanged', () => {
    const text = `# kept
users:
- name: a
  user:
    client-certificate-data: ${Buffer.alloc(600).toString('base64')}
    client-key-data: '${Buffer.alloc(30).toString('base64')}' # kept
    token: abcdef.0123456789abcdef
    client-key: /var/lib/kubelet/pki/kubelet-client-current.pem
- name: b
  user:
    password: |
      secret
      lines
    exec:
      env:
      - name: A
        value: secret
`;
    assert.equal(
      redactYaml(text),
      `# kept
users:
- name: a
  user:
    client-certificate-data: <600 bytes, not shown>
    client-key-data: <30 bytes, not shown> # kept
    token: <23 bytes, not shown>
    client-key: /var/lib/kubelet/pki/kubelet-client-current.pem
- name: b
  user:
    password: <13 bytes, not shown>
    exec:
      env:
      - name: A
        value: <6 bytes, not shown>
`,
    );
  });

  it('redacts request headers, and shows no text that it cannot parse', () => {
    const text = 'staticPodURLHeader:\n  Authorization:\n  - Bearer abc\nport: 1\n';
    assert.equal(
      redactYaml(text),
      'staticPodURLHeader:\n  Authorization:\n  - <10 bytes, not shown>\nport: 1\n',
    );
    assert.equal(redactYaml('token: [secret'), undefined);
  });

  it('redacts a key or token in any place', () => {
    const places = fc.constantFrom(
      (secret: string) => `users:\n- user:\n    token: ${secret}\n`,
      (secret: string) => `users:\n- user: {client-key-data: "${secret}"}\n`,
      (secret: string) => `users:\n- user:\n    client-key: ${secret}\n`,
      (secret: string) => `# old: ${secret}\na: 1\n`,
      (secret: string) => `unknown: ${secret}\n`,
      (secret: string) => `a:\n  - >-\n    ${secret}\n`,
    );
    const secrets = fc.noShrink(fc.constant(null).map(() => randomBytes(48).toString('base64')));
    fc.assert(
      fc.property(places, secrets, (place, secret) => {
        const shown = redactYaml(place(secret)) ?? '';
        for (let at = 0; at + 16 <= secret.length; at += 1) {
          assert.ok(!shown.includes(secret.slice(at, at + 16)), shown);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('redactText()', () => {
  for (const text of [
    'KUBELET_EXTRA_ARGS="--rotate-certificates=true --node-ip=10.0.0.5"',
    '--container-runtime-endpoint=unix:///var/run/containerd/containerd.sock',
    '--kubeconfig=/var/lib/rancher/rke2/agent/kubelet.kubeconfig --pod-infra-container-image=registry.k8s.io/pause:3.10',
    'tlsCipherSuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]',
    'featureGates: {ReloadKubeletServerCertificateFile: true}',
    'tlsCertFile: /var/lib/kubelet/pki/kubelet-server-2026-01-01-00-00-00.pem',
    'a\tb\n\nc',
  ]) {
    it(`keeps ${JSON.stringify(text)}`, () => {
      assert.equal(redactText(text), text);
    });
  }

  it('redacts tokens, and removes escape sequences', () => {
    const token = 'abcdef.abcdefghijklmnop';
    assert.equal(redactText(`A=${token}\r\n\u001B[2Jb\u202E`), 'A=…\n[2Jb');
  });
});

describe('stepDiff()', () => {
  const step: Step = { id: 'kubelet-config', file: '/etc/f', form: 'yaml', what: '', why: '' };
  const rows: readonly (readonly [string, Partial<Step>, string])[] = [
    ['no change', { before: 'a: 1\n', after: 'a: 1\n' }, ''],
    ['a new file', { after: 'a: 1\n' }, '--- /dev/null\n+++ /etc/f\n@@ -0,0 +1,1 @@\n+a: 1\n'],
    ['a removed file', { before: 'a: 1\n' }, '--- /etc/f\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-a: 1\n'],
    [
      'a changed line with three lines around it',
      { before: numbers(9, 'a'), after: numbers(9, 'a').replace('a4: 1', 'a4: 2') },
      '--- /etc/f\n+++ /etc/f\n@@ -2,7 +2,7 @@\n a1: 1\n a2: 1\n a3: 1\n-a4: 1\n+a4: 2\n a5: 1\n a6: 1\n a7: 1\n',
    ],
    [
      'a last line without a line break',
      { before: 'a: 1', after: 'a: 1\n' },
      '--- /etc/f\n+++ /etc/f\n@@ -1,1 +1,1 @@\n-a: 1\n\\ No newline at end of file\n+a: 1\n',
    ],
    [
      'a changed secret',
      { before: 'token: abc\n', after: 'token: def\n' },
      '/etc/f differs in redacted parts only\n',
    ],
    [
      'a text that cannot be parsed',
      { before: 'token: [', after: 'a: 1\n' },
      '/etc/f is not shown: it cannot be parsed, so its secrets cannot be redacted\n',
    ],
    [
      'a difference that is too long',
      { before: numbers(1_500, 'a'), after: numbers(1_500, 'b') },
      '/etc/f is not shown: it differs in more than 2000 lines\n',
    ],
  ];
  for (const [name, texts, expected] of rows) {
    it(`shows ${name}`, () => assert.equal(stepDiff({ ...step, ...texts }), expected));
  }
});

/** Lines such as `a0: 1`. */
function numbers(count: number, letter: string): string {
  return Array.from({ length: count }, (_, at) => `${letter}${at}: 1\n`).join('');
}
