import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parse } from 'yaml';
import { Secret } from '../../src/core/secret.ts';
import type { EmbeddedReplacement } from '../../src/kube/embedded-certificate.ts';
import { kubeconfigCertificate, withEmbedded } from '../../src/kube/embedded-certificate.ts';
import { KubeconfigDocument } from '../../src/kube/kubeconfig-document.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const bytes = (text: string): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(text));

/** The order and form of kubeadm. */
const kubeadm = `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: ${base64('old CA')}
    server: https://10.0.0.1:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: kubernetes-admin
  name: kubernetes-admin@kubernetes
current-context: kubernetes-admin@kubernetes
kind: Config
preferences: {}
users:
- name: kubernetes-admin
  user:
    client-certificate-data: ${base64('old certificate')}
    client-key-data: ${base64('old key')}
`;

/** Comments, quotes, several contexts, and a user that is not current. */
const edited = `# by hand
apiVersion: v1
kind: Config
current-context: b   # chosen
users:
  - user: {client-certificate-data: "${base64('other')}", client-key-data: ${base64('other key')}}
    name: other
  # the one of this node
  - name: 'me'
    user:
      client-key-data:   '${base64('old key')}' # secret

      client-certificate-data: "${base64('old certificate')}"
contexts:
- {name: a, context: {cluster: x, user: other}}
- {name: b, context: {cluster: y, user: me, namespace: kube-system}}
- {name: c, context: {cluster: x, user: me}}
clusters:
- {name: x, cluster: {server: "https://10.0.0.1:6443", certificate-authority-data: ${base64('CA of x')}}}
- name: y
  cluster:
    certificate-authority-data: >-
      ${base64('old CA')}
    server: https://10.0.0.2:6443
extensions: []
`;

function replacement(authority?: string): EmbeddedReplacement {
  return {
    certificate: bytes('new certificate'),
    key: new Secret(bytes('new key')),
    ...(authority !== undefined && { authority: bytes(authority) }),
  };
}

function edit(text: string, change = replacement('new CA')): string {
  using after = withEmbedded(new KubeconfigDocument('admin.conf', text), text, change);
  return Buffer.from(after.expose()).toString();
}

function changedLines(before: string, after: string): string[] {
  const old = before.split('\n');
  return after.split('\n').filter((line) => !old.includes(line));
}

function read(text: string): ReturnType<typeof kubeconfigCertificate> {
  return kubeconfigCertificate(new KubeconfigDocument('/etc/kubernetes/admin.conf', text));
}

describe('withEmbedded()', () => {
  it('changes three lines of a kubeconfig of kubeadm', () => {
    assert.equal(
      edit(kubeadm),
      kubeadm
        .replace(base64('old CA'), base64('new CA'))
        .replace(base64('old certificate'), base64('new certificate'))
        .replace(base64('old key'), base64('new key')),
    );
  });

  it('changes two lines when the CAs stay', () => {
    assert.equal(changedLines(kubeadm, edit(kubeadm, replacement())).length, 2);
  });

  it('keeps comments, quotes, order and the other contexts', () => {
    const after = edit(edited);
    assert.deepEqual(changedLines(edited, after), [
      `      client-key-data:   '${base64('new key')}' # secret`,
      `      client-certificate-data: "${base64('new certificate')}"`,
      `    certificate-authority-data: ${base64('new CA')}`,
    ]);
  });

  it('keeps the line ends of Windows', () => {
    const windows = kubeadm.replaceAll('\n', '\r\n');
    assert.equal(edit(windows), edit(kubeadm).replaceAll('\n', '\r\n'));
  });

  it('edits a kubeconfig in JSON', () => {
    const json = JSON.stringify(parse(kubeadm), undefined, 2);
    assert.deepEqual(JSON.parse(edit(json)), parse(edit(kubeadm)));
    assert.equal(changedLines(json, edit(json)).length, 3);
  });

  it('writes any key', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), (key) => {
        const change = { ...replacement(), key: new Secret(new Uint8Array(key)) };
        const value = parse(edit(kubeadm, change)) as { users: [{ user: Record<string, string> }] };
        const found = value.users[0].user['client-key-data'];
        assert.equal(found, Buffer.from(key).toString('base64'));
      }),
      { numRuns: 30 },
    );
  });

  const refused = [
    [
      'an anchor',
      kubeadm.replace('client-key-data: ', 'client-key-data: &k '),
      'KUBECONFIG_UNSUPPORTED',
    ],
    ['a second document', `${kubeadm}---\na: 1\n`, 'KUBECONFIG_INVALID'],
  ] as const;
  for (const [name, text, code] of refused) {
    it(`refuses a kubeconfig with ${name}`, () => {
      assert.throws(() => edit(text), { code });
    });
  }
});

describe('kubeconfigCertificate()', () => {
  it('returns the data of the current context', () => {
    const { source, authority } = read(edited);
    assert.ok(source.kind === 'embedded');
    assert.equal(Buffer.from(source.certificate).toString(), 'old certificate');
    assert.equal(Buffer.from(source.key.expose()).toString(), 'old key');
    assert.equal(Buffer.from(authority ?? []).toString(), 'old CA');
  });

  it('returns the files that the user names, relative to the kubeconfig', () => {
    const text = kubeadm
      .replace(/client-certificate-data: .*/, 'client-certificate: pki/a.crt')
      .replace(/client-key-data: .*/, 'client-key: /b/a.key');
    assert.deepEqual(read(text).source, {
      kind: 'files',
      certificateFile: '/etc/kubernetes/pki/a.crt',
      keyFile: '/b/a.key',
    });
    const both = text.replace('/b/a.key', 'pki/a.crt');
    const path = '/etc/kubernetes/pki/a.crt';
    assert.deepEqual(read(both).source, { kind: 'files', certificateFile: path, keyFile: path });
  });

  it('has no CAs when the cluster names a file', () => {
    const text = kubeadm.replace(/certificate-authority-data: .*/, 'certificate-authority: ca.crt');
    assert.equal(read(text).authority, undefined);
  });

  const refused = [
    ['a token', kubeadm.replace(/client-certificate-data: .*\n.*/, 'token: abcdef.0123456789')],
    ['data and a file', kubeadm.replace(/client-key-data: .*/, 'client-key: a.key')],
  ] as const;
  for (const [name, text] of refused) {
    it(`refuses a user with ${name}`, () => {
      assert.throws(() => read(text), {
        code: 'KUBECONFIG_UNSUPPORTED',
        message: /^kubeconfig .*, line 18: users\[0\].user must embed a client certificate/,
      });
    });
  }
});
