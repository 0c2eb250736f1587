import assert from 'node:assert/strict';
import {
  mkdir,
  readFile,
  readdir,
  readlink,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { basename, join } from 'node:path';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import type { Finding } from '../../src/core/enroller-protocol.ts';
import { NodeKubeconfig } from '../../src/store/node-kubeconfig.ts';
import { kubeletKubeconfig } from '../../src/store/kubeconfig-text.ts';
import { until } from '../keeper/fixtures.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { makePair, temporaryDirectory } from './pairs.ts';

const cluster = { server: 'https://10.0.0.1:6443', insecureSkipTlsVerify: false };
const otherCluster = { server: 'https://10.0.0.2:6443', insecureSkipTlsVerify: false };

interface Place {
  readonly folder: string;
  readonly path: string;
  readonly file: NodeKubeconfig;
  readonly clock: FakeClock;
  /** The content that the agent writes for `cluster`. */
  readonly text: string;
  readonly copies: () => Promise<string[]>;
}

async function place(t: TestContext): Promise<Place> {
  const root = await temporaryDirectory(t);
  const folder = join(root, 'etc');
  const path = join(folder, 'kubelet.conf');
  const certificatePath = join(root, 'pki/kubelet-client-current.pem');
  const clock = new FakeClock();
  const config = { kubeconfig: path, stateDirectory: join(root, 'state'), nodeName: 'n1' };
  return {
    folder,
    path,
    clock,
    file: new NodeKubeconfig({ config, certificatePath, clock }),
    text: kubeletKubeconfig({ cluster, certificatePath }),
    copies: async () => (await readdir(folder)).filter((name) => name !== 'kubelet.conf').sort(),
  };
}

/** A signal that is not aborted. */
const never = new AbortController().signal;

const kinds = (findings: readonly Finding[]): string[] => findings.map(({ kind }) => kind);

describe('NodeKubeconfig.write()', () => {
  it('writes with mode 0600, and only if the content differs', async (t) => {
    const { path, file, text } = await place(t);
    assert.deepEqual(kinds(await file.write(cluster)), ['kubeconfig-written']);
    assert.equal(await readFile(path, 'utf8'), text);
    const before = await stat(path);
    assert.equal(before.mode & 0o7777, 0o600);
    assert.deepEqual(await file.write(cluster), []);
    assert.equal((await stat(path)).ino, before.ino);
  });

  it('remembers the content with mode 0600', async (t) => {
    const { file, text } = await place(t);
    await file.write(cluster);
    assert.equal(await readFile(file.rememberedFile, 'utf8'), text);
    assert.equal((await stat(file.rememberedFile)).mode & 0o7777, 0o600);
  });

  it('keeps a copy of a replaced kubeconfig with mode 0600', async (t) => {
    const { folder, path, file, text, copies } = await place(t);
    await file.write(cluster);
    const [finding, ...more] = await file.write(otherCluster);
    assert.deepEqual(more, []);
    assert.equal(finding?.kind, 'kubeconfig-replaced');
    const [copy = ''] = await copies();
    assert.match(copy, /^kubelet\.conf\.nodecertd-\d{4}(-\d\d){5}$/);
    assert.ok(finding.detail.endsWith(join(folder, copy)), finding.detail);
    assert.equal(await readFile(join(folder, copy), 'utf8'), text);
    assert.equal((await stat(join(folder, copy))).mode & 0o7777, 0o600);
    assert.ok((await readFile(path, 'utf8')).includes(otherCluster.server));
  });

  it('keeps the last three copies and every other file', async (t) => {
    const { folder, file, copies } = await place(t);
    await file.write(cluster);
    await writeFile(join(folder, 'kubelet.conf.nodecertd-notes'), 'mine');
    for (const server of ['https://a', 'https://b', 'https://c', 'https://d', 'https://e']) {
      await file.write({ ...cluster, server });
    }
    const kept = await copies();
    assert.equal(kept.length, 4);
    assert.ok(kept.includes('kubelet.conf.nodecertd-notes'));
  });

  it('replaces a kubeconfig that embeds the certificate of this node', async (t) => {
    const { folder, path, file, copies } = await place(t);
    const { certificatePem, keyPem } = await makePair();
    const [certificate, key] = [certificatePem, keyPem].map((pem) => pem.toString('base64'));
    const text = `apiVersion: v1
clusters: [{name: kubernetes, cluster: {server: "https://a"}}]
contexts: [{name: a, context: {cluster: kubernetes, user: "system:node:n1"}}]
current-context: a
kind: Config
users: [{name: "system:node:n1", user: {client-certificate-data: ${certificate}, client-key-data: ${key}}}]
`;
    await mkdir(folder);
    await writeFile(path, text);
    assert.deepEqual(kinds(await file.write(cluster)), ['kubeconfig-replaced']);
    const [copy = ''] = await copies();
    assert.equal(await readFile(join(folder, copy), 'utf8'), text);
  });

  for (const [title, text] of [
    [
      'a KubeletConfiguration',
      'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n',
    ],
    [
      'a cut-off file of unknown origin',
      'apiVersion: v1\nclusters:\n- cluster:\n    certificate-auth',
    ],
  ] as const) {
    it(`keeps ${title} and names the setting`, async (t) => {
      const { folder, path, file, copies } = await place(t);
      await mkdir(folder);
      await writeFile(path, text);
      const refused = { code: 'KUBECONFIG_INVALID', remedy: /kubeconfig \(--kubeconfig\)/ };
      await assert.rejects(file.write(cluster), refused);
      await assert.rejects(file.requireReplaceable([cluster]), refused);
      assert.deepEqual(await file.recover(async () => cluster, never), []);
      assert.equal(await readFile(path, 'utf8'), text);
      assert.deepEqual(await copies(), []);
    });
  }

  it('keeps a directory', async (t) => {
    const { path, file } = await place(t);
    await mkdir(path, { recursive: true });
    await assert.rejects(file.write(cluster), { message: /kubelet\.conf is a directory/ });
    assert.deepEqual(await readdir(path), []);
  });

  for (const target of ['real.conf', 'absent/real.conf']) {
    it(`writes the target of a link to ${target}`, async (t) => {
      const { folder, path, file, text } = await place(t);
      await mkdir(folder);
      await symlink(target, path);
      await writeFile(join(folder, '.nodecertd-0011223344556677.real.conf~'), 'cut short');
      await file.write(cluster);
      assert.equal(await readlink(path), target);
      assert.equal(await readFile(join(folder, target), 'utf8'), text);
      const strays = (await readdir(join(folder, target, '..'))).filter((name) =>
        name.startsWith('.'),
      );
      assert.deepEqual(strays, target === 'real.conf' ? [] : []);
    });
  }
});

/** The file as an editor leaves it for a moment, at the time of the fake clock. */
async function truncate({ path, clock }: Place): Promise<void> {
  await writeFile(path, '');
  const now = new Date(clock.now());
  await utimes(path, now, now);
}

const noCluster = async (): Promise<undefined> => undefined;

describe('NodeKubeconfig.recover()', () => {
  it('loads the cluster of the bootstrap kubeconfig only for a missing or corrupt file', async (t) => {
    const { path, file } = await place(t);
    await file.write(cluster);
    let loads = 0;
    const loadCluster = async (): Promise<typeof cluster> => {
      loads += 1;
      return cluster;
    };
    await file.recover(loadCluster, never);
    assert.equal(loads, 0);
    await rm(path);
    await file.recover(loadCluster, never);
    assert.equal(loads, 1);
  });

  it('waits for an editor that writes in place, and keeps its text', async (t) => {
    const found = await place(t);
    const { path, file, clock, text } = found;
    await file.write(cluster);
    await file.recover(noCluster, never);
    await truncate(found);
    const recovered = file.recover(noCluster, never);
    await until('a wait', () => clock.sleeping > 0);
    const edited = text.replace('10.0.0.1', '10.0.0.9');
    await writeFile(path, edited);
    await clock.advance(2_000);
    assert.deepEqual(await recovered, []);
    assert.equal(await readFile(path, 'utf8'), edited);
  });

  it('writes a file again that is still empty after that', async (t) => {
    const found = await place(t);
    const { path, file, clock, text } = found;
    await file.write(cluster);
    await truncate(found);
    const recovered = file.recover(noCluster, never);
    await until('a wait', () => clock.sleeping > 0);
    await clock.advance(2_000);
    assert.deepEqual(kinds(await recovered), ['kubeconfig-set-aside', 'kubeconfig-written']);
    assert.equal(await readFile(path, 'utf8'), text);
  });

  it('ends the wait with ABORTED', async (t) => {
    const found = await place(t);
    await found.file.write(cluster);
    await truncate(found);
    const stop = new AbortController();
    const recovered = found.file.recover(noCluster, stop.signal);
    await until('a wait', () => found.clock.sleeping > 0);
    stop.abort();
    await assert.rejects(recovered, { code: 'ABORTED' });
  });

  it('remembers the kubeconfig of another program byte for byte', async (t) => {
    const { folder, path, file, text } = await place(t);
    const named = text.replaceAll('default-auth', 'system:node:n1');
    await mkdir(folder);
    await writeFile(path, named);
    assert.deepEqual(await file.recover(noCluster, never), []);
    await writeFile(path, named.slice(0, 120));
    await file.recover(noCluster, never);
    assert.equal(await readFile(path, 'utf8'), named);
  });

  it('writes an empty file again without the bootstrap kubeconfig', async (t) => {
    const { path, file, text, copies } = await place(t);
    await file.write(cluster);
    await writeFile(path, '');
    const findings = await file.recover(noCluster, never);
    assert.deepEqual(kinds(findings), ['kubeconfig-set-aside', 'kubeconfig-written']);
    assert.equal(findings[0]?.detail, 'the file is empty');
    assert.equal(await readFile(path, 'utf8'), text);
    assert.deepEqual(await copies(), []);
  });

  it('sets a cut-off file aside and restores the remembered content', async (t) => {
    const { folder, path, file, text, copies } = await place(t);
    await file.write(cluster);
    await writeFile(path, text.slice(0, 200));
    const [aside] = await file.recover(async () => otherCluster, never);
    const [copy = ''] = await copies();
    assert.equal(aside?.path, join(folder, copy));
    assert.equal(aside.detail, `${path} is cut off after 200 bytes`);
    assert.equal(await readFile(join(folder, copy), 'utf8'), text.slice(0, 200));
    assert.equal(await readFile(path, 'utf8'), text);
  });

  it('writes a missing file for the cluster of the bootstrap kubeconfig', async (t) => {
    const { path, file, text } = await place(t);
    await file.write(cluster);
    await rm(path);
    await file.recover(async () => otherCluster, never);
    assert.ok((await readFile(path, 'utf8')).includes(otherCluster.server));
    await file.write(cluster);
    await rm(path);
    await file.recover(noCluster, never);
    assert.equal(await readFile(path, 'utf8'), text);
  });

  it('does nothing if the cluster is unknown', async (t) => {
    const { folder, path, file } = await place(t);
    assert.deepEqual(await file.recover(noCluster, never), []);
    await mkdir(folder);
    await writeFile(path, '');
    assert.deepEqual(await file.recover(noCluster, never), []);
    assert.deepEqual(await readdir(folder), [basename(path)]);
  });

  it('remembers no token and no relative path', async (t) => {
    const { folder, path, file, text } = await place(t);
    await mkdir(folder);
    for (const [from, to] of [
      ['    client-key:', '    token: abc\n    client-key:'],
      ['    server:', '    certificate-authority: ca.crt\n    server:'],
    ] as const) {
      await writeFile(path, text.replace(from, to));
      assert.deepEqual(await file.recover(noCluster, never), []);
      await assert.rejects(stat(file.rememberedFile), { code: 'ENOENT' });
    }
  });

  it('ignores remembered text that is corrupt or names another key pair', async (t) => {
    const { path, file, text } = await place(t);
    await file.write(cluster);
    for (const memory of [text.slice(0, 100), text.replaceAll('/pki/', '/old/')]) {
      await writeFile(file.rememberedFile, memory);
      await writeFile(path, '');
      assert.equal(await file.canRecover([]), false);
      assert.deepEqual(await file.recover(noCluster, never), []);
    }
  });
});
