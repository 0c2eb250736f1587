import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { stringify } from 'yaml';
import type { KubeconfigFile } from '../../src/store/kubeconfig-recognition.ts';
import { readKubeconfigFile } from '../../src/store/kubeconfig-recognition.ts';
import { kubeletKubeconfig } from '../../src/store/kubeconfig-text.ts';
import { makePair, temporaryDirectory } from './pairs.ts';

const cluster = {
  server: 'https://10.0.0.1:6443',
  certificateAuthority: { pem: Uint8Array.from({ length: 900 }, (_, index) => index) },
  insecureSkipTlsVerify: false,
};

interface Place {
  readonly path: string;
  readonly link: string;
  /** The content that the agent writes. */
  readonly text: string;
  readonly read: (known?: readonly string[]) => Promise<KubeconfigFile>;
}

async function place(t: TestContext, nodeName = 'n1'): Promise<Place> {
  const directory = await temporaryDirectory(t);
  const path = join(directory, 'kubelet.conf');
  const link = join(directory, 'kubelet-client-current.pem');
  return {
    path,
    link,
    text: kubeletKubeconfig({ cluster, certificatePath: link }),
    read: (known = []) =>
      readKubeconfigFile(
        path,
        { nodeName, certificatePath: link },
        known.map((text) => Buffer.from(text)),
      ),
  };
}

/** A kubeconfig with the names of kubeadm. */
function kubeconfigOf(user: Readonly<Record<string, unknown>>, names = ['system:node:n1']) {
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'kubernetes', cluster: { server: cluster.server } }],
    contexts: names.map((name) => ({ name, context: { cluster: 'kubernetes', user: name } })),
    'current-context': names[0],
    users: names.map((name) => ({ name, user })),
  });
}

describe('readKubeconfigFile()', () => {
  it('recognizes a kubeconfig that names the key pair', async (t) => {
    const { path, link, text, read } = await place(t);
    for (const content of [
      text,
      kubeconfigOf({ 'client-certificate': link, 'client-key': link }),
    ]) {
      await writeFile(path, content);
      const found = await read();
      assert.deepEqual(found, {
        kind: 'own',
        namesPair: true,
        bytes: new Uint8Array(Buffer.from(content)),
      });
    }
  });

  it('recognizes the key pair by a relative path and through a linked directory', async (t) => {
    const { path, link, read } = await place(t);
    const alias = `${path}.d`;
    await symlink(join(link, '..'), alias);
    for (const name of ['kubelet-client-current.pem', join(alias, 'kubelet-client-current.pem')]) {
      await writeFile(path, kubeconfigOf({ 'client-certificate': name, 'client-key': name }));
      assert.equal((await read()).kind, 'own');
    }
  });

  it('recognizes a certificate of this node, embedded or in another file', async (t) => {
    const { path, read } = await place(t);
    const { certificatePem } = await makePair();
    await writeFile(`${path}.crt`, certificatePem);
    for (const user of [
      { 'client-certificate-data': Buffer.from(certificatePem).toString('base64') },
      { 'client-certificate': 'kubelet.conf.crt', 'client-key': 'other.key' },
    ]) {
      await writeFile(path, kubeconfigOf(user));
      const found = await read();
      assert.deepEqual([found.kind, found.kind === 'own' && found.namesPair], ['own', false]);
    }
  });

  it('returns missing without a file and for a dangling link', async (t) => {
    const { path, read } = await place(t);
    assert.deepEqual(await read(), { kind: 'missing' });
    await symlink('nowhere.conf', path);
    assert.deepEqual(await read(), { kind: 'missing' });
  });

  const remains: readonly (readonly [string, string, (text: string) => string | Buffer])[] = [
    ['nothing', 'is empty', () => ''],
    ['blank lines', 'is empty', () => '\n \n'],
    ['NUL bytes of the same size', 'is empty', (text) => Buffer.alloc(text.length)],
    ['the first 700 bytes', 'is cut off after 700 bytes', (text) => text.slice(0, 700)],
    ['all but a letter', 'is cut off after 1620 bytes', (text) => text.trimEnd().slice(0, -1)],
    [
      'a tail of NUL bytes',
      'is cut off after 512 bytes',
      (text) => Buffer.concat([Buffer.from(text.slice(0, 512)), Buffer.alloc(text.length - 512)]),
    ],
  ];
  for (const [title, reason, harm] of remains) {
    it(`calls ${title} of a known text corrupt`, async (t) => {
      const { path, text, read } = await place(t);
      await writeFile(path, harm(text));
      const found = await read([text]);
      const expected = reason.replace('1620', String(text.length - 2));
      assert.deepEqual(
        [found.kind, found.kind === 'corrupt' && found.reason],
        ['corrupt', expected],
      );
    });
  }

  it('accepts a known text without its last line feed', async (t) => {
    const { path, text, read } = await place(t);
    await writeFile(path, text.trimEnd());
    assert.equal((await read([text])).kind, 'own');
  });

  const kubeletConfiguration =
    'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nrotateCertificates: true\n';
  const foreign: readonly (readonly [string, string | Buffer, string])[] = [
    [
      'a KubeletConfiguration',
      kubeletConfiguration,
      'a KubeletConfiguration (kubelet.config.k8s.io/v1beta1)',
    ],
    ['JSON of another kind', '{"kind": "Pod", "apiVersion": "v1"}', 'a Pod (v1)'],
    ['JSON without a kind', '{"a": 1}', 'YAML without a kind'],
    ['a list', '- a\n', 'YAML that is not a kubeconfig'],
    ['a line of text', 'hello\n', 'YAML that is not a kubeconfig'],
    ['broken YAML', 'a: [\n', 'text that is not valid YAML'],
    ['an ELF program', Buffer.from('\x7fELF\x02\0\0'), 'binary data'],
    ['Latin-1', Buffer.from([0x61, 0xe9, 0x62]), 'binary data'],
    ['a large file', 'a'.repeat(1024 * 1024 + 1), 'a file of 1048577 bytes, more than 1 MiB'],
    [
      'the kubeconfig of an administrator',
      kubeconfigOf({ token: 'abc' }, ['kubernetes-admin']),
      'a kubeconfig whose user kubernetes-admin is not this node',
    ],
    [
      'a kubeconfig with two users',
      kubeconfigOf({ token: 'abc' }, ['a', 'b']),
      'a kubeconfig without exactly one cluster, one context and one user',
    ],
    [
      'a kubeconfig of another cluster',
      kubeletKubeconfig({ cluster, certificatePath: '/other.pem' }).slice(0, 700),
      'a kubeconfig without exactly one cluster, one context and one user',
    ],
  ];
  for (const [title, content, expected] of foreign) {
    it(`calls ${title} foreign`, async (t) => {
      const { path, read } = await place(t);
      await writeFile(path, content);
      assert.deepEqual(await read(), { kind: 'foreign', found: expected });
    });
  }

  it('calls a certificate of another node foreign', async (t) => {
    const { path, read } = await place(t, 'n10');
    const { certificatePem } = await makePair();
    const data = Buffer.from(certificatePem).toString('base64');
    await writeFile(path, kubeconfigOf({ 'client-certificate-data': data }));
    assert.equal((await read()).kind, 'foreign');
  });

  it('calls a directory and a named pipe foreign', async (t) => {
    const { path, read } = await place(t);
    await mkdir(path);
    assert.deepEqual(await read(), { kind: 'foreign', found: 'a directory' });
    const other = await place(t);
    execFileSync('mkfifo', [other.path]);
    assert.deepEqual(await other.read(), { kind: 'foreign', found: 'not a regular file' });
  });

  it('throws on a file that cannot be read', async (t) => {
    const { path, read } = await place(t);
    // Memory at address 0: every user can open it, and reading it fails.
    await symlink('/proc/self/mem', path);
    await assert.rejects(read(), { code: 'STORE_IO' });
  });
});
