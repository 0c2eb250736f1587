import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { concealedText, concealedYaml } from '../../src/adopt/concealed.ts';

describe('concealedYaml()', () => {
  it('concealedYaml() shows how long a secret is, and everything else as it stands', () => {
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
      concealedYaml(text),
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

  it('concealedYaml() shows no header of a request, and no text that it cannot parse', () => {
    const text = 'staticPodURLHeader:\n  Authorization:\n  - Bearer abc\nport: 1\n';
    assert.equal(
      concealedYaml(text),
      'staticPodURLHeader:\n  Authorization:\n  - <10 bytes, not shown>\nport: 1\n',
    );
    assert.equal(concealedYaml('token: [secret'), undefined);
  });

  it('concealedYaml() lets no key or token through, wherever a person pasted it', () => {
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
        const shown = concealedYaml(place(secret)) ?? '';
        for (let at = 0; at + 16 <= secret.length; at += 1) {
          assert.ok(!shown.includes(secret.slice(at, at + 16)), shown);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('concealedText()', () => {
  for (const text of [
    'KUBELET_EXTRA_ARGS="--rotate-certificates=true --node-ip=10.0.0.5"',
    '--container-runtime-endpoint=unix:///var/run/containerd/containerd.sock',
    '--kubeconfig=/var/lib/rancher/rke2/agent/kubelet.kubeconfig --pod-infra-container-image=registry.k8s.io/pause:3.10',
    'tlsCipherSuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]',
    'featureGates: {ReloadKubeletServerCertificateFile: true}',
    'tlsCertFile: /var/lib/kubelet/pki/kubelet-server-2026-01-01-00-00-00.pem',
    'a\tb\n\nc',
  ]) {
    it(`concealedText() shows ${JSON.stringify(text)} as it is`, () => {
      assert.equal(concealedText(text), text);
    });
  }

  it('concealedText() leaves out tokens, and what moves the cursor', () => {
    const token = 'abcdef.abcdefghijklmnop';
    assert.equal(concealedText(`A=${token}\r\n\u001B[2Jb\u202E`), 'A=…\n[2Jb');
  });
});
