import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { describe, it } from 'node:test';
import { stringify } from 'yaml';
import { readStaticPods } from '../../../src/pki/components/static-pods.ts';
import { kubeadmManifests, kubeadmPods, manifestDirectory, pod } from './manifests.ts';

const scheduler = stringify(kubeadmPods['kube-scheduler']);

describe('readStaticPods()', () => {
  it('reads the manifests of kubeadm', async (context) => {
    const directory = await manifestDirectory(context, kubeadmManifests());
    const { pods, problems, ignored } = await readStaticPods(directory);
    assert.deepEqual(
      pods.map(({ id }) => id),
      ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler'].map(
        (name) => `kube-system/${name}`,
      ),
    );
    assert.deepEqual([problems, ignored], [[], []]);
  });

  it('reads JSON, anchors, merge keys, comments and any extension', async (context) => {
    const anchors = `# made by hand
---
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  containers:
  - &base
    name: a
    command: &command [kube-scheduler, --v=2]
  - <<: *base
    name: b
    args: *command
`;
    const directory = await manifestDirectory(context, {
      'a.txt': JSON.stringify(kubeadmPods.etcd),
      b: anchors,
    });
    const { pods, problems } = await readStaticPods(directory);
    assert.deepEqual(problems, []);
    assert.deepEqual(
      pods.map(({ id }) => id),
      ['kube-system/etcd', 'default/a'],
    );
    assert.deepEqual(pods[1]?.spec.containers[1]?.args, ['kube-scheduler', '--v=2']);
    assert.deepEqual(pods[1]?.spec.containers[1]?.command, ['kube-scheduler', '--v=2']);
  });

  it('uses the last of two files with the same pod, and names the copy', async (context) => {
    const directory = await manifestDirectory(context, {
      'kube-scheduler.yaml': scheduler,
      'kube-scheduler.yaml.bak': scheduler,
    });
    const { pods, ignored } = await readStaticPods(directory);
    const [first, copy] = ['kube-scheduler.yaml', 'kube-scheduler.yaml.bak'].map((name) =>
      join(directory, name),
    );
    assert.deepEqual(
      pods.map(({ manifest }) => manifest),
      [copy],
    );
    assert.deepEqual(
      ignored.map(({ path }) => path),
      [first],
    );
    assert.ok(copy !== undefined && ignored[0]?.reason.includes(copy));
  });

  it('names what the kubelet ignores', async (context) => {
    const directory = await manifestDirectory(context, {
      '.kube-scheduler.yaml.swp': 'b0VIM',
      'two.yaml': `${scheduler}---\n${stringify(kubeadmPods.etcd)}`,
    });
    await mkdir(join(directory, 'backup'));
    const { pods, problems, ignored } = await readStaticPods(directory);
    assert.equal(pods.length, 1);
    assert.deepEqual(problems, []);
    assert.deepEqual(ignored, [
      {
        path: join(directory, '.kube-scheduler.yaml.swp'),
        reason: 'the kubelet ignores names that start with a dot',
      },
      {
        path: join(directory, 'backup'),
        reason: 'the kubelet does not read folders in this directory',
      },
      {
        path: join(directory, 'two.yaml'),
        reason: 'the kubelet reads only the first of its 2 YAML documents',
      },
    ]);
  });

  for (const [name, content] of [
    ['an empty file', ''],
    ['another kind', 'kind: ConfigMap\n'],
    ['plain text', 'do not edit'],
    ['a list', { kind: 'List', items: [kubeadmPods.etcd] }],
    ['an empty first document', `---\n---\n${scheduler}`],
  ] as const) {
    it(`names ${name} as ignored`, async (context) => {
      const directory = await manifestDirectory(context, { 'a.yaml': content, b: scheduler });
      const { pods, problems, ignored } = await readStaticPods(directory);
      assert.deepEqual([pods.length, problems], [1, []]);
      assert.deepEqual(ignored, [
        {
          path: join(directory, 'a.yaml'),
          reason: 'it is not a Pod, so the kubelet does not use it',
        },
      ]);
    });
  }

  const bomb = ['a0: &a0 [x]'];
  for (let at = 1; at < 12; at += 1) {
    const aliases = Array.from({ length: 9 }, () => `*a${at - 1}`);
    bomb.push(`a${at}: &a${at} [${aliases.join(', ')}]`);
  }
  const bad: readonly (readonly [string, string | object, RegExp])[] = [
    ['a Pod without a name', { kind: 'Pod', metadata: {}, spec: {} }, /metadata\.name must be/],
    [
      'a number as an argument',
      pod({ name: 'a', command: [], container: { args: [1] } }),
      /spec\.containers\.0\.args\.0 must be string$/,
    ],
    ['invalid YAML', 'kind: Pod\nmetadata: {name: c2VjcmV0\n', /^is not valid YAML: line \d \(/],
    ['nested aliases', bomb.join('\n'), /^has too many YAML aliases or levels$/],
    ['many levels', '['.repeat(100_000), /^(?:has too many YAML|is not valid YAML: line 1)/],
    ['256 KiB', ' '.repeat(256 * 1024 + 1), /^has 262145 bytes, more than 262144$/],
  ];
  for (const [name, content, reason] of bad) {
    it(`reports ${name}, and reads the other files`, async (context) => {
      const directory = await manifestDirectory(context, { 'a.yaml': content, b: scheduler });
      const { pods, problems } = await readStaticPods(directory);
      assert.equal(pods.length, 1);
      assert.deepEqual(
        problems.map(({ path }) => path),
        [join(directory, 'a.yaml')],
      );
      assert.match(problems[0]?.reason ?? '', reason);
      assert.doesNotMatch(problems[0]?.reason ?? '', /c2Vjcm/);
    });
  }

  it('reports a pipe, a link to nothing and a loop of links', async (context) => {
    const directory = await manifestDirectory(context, { z: scheduler });
    execFileSync('mkfifo', [join(directory, 'pipe')]);
    await symlink('nothing', join(directory, 'gone'));
    await symlink('loop', join(directory, 'loop'));
    await writeFile(join(directory, 'latin1'), Buffer.from([0xe4, 0x3a]));
    const { pods, problems } = await readStaticPods(directory);
    assert.equal(pods.length, 1);
    assert.deepEqual(
      problems.map(({ path, reason }) => [basename(path), reason]),
      [
        ['gone', 'does not exist'],
        ['latin1', 'is not a text file'],
        ['loop', 'is a loop of links'],
        ['pipe', 'is not a regular file'],
      ],
    );
  });

  it('reads a single file instead of a directory', async (context) => {
    const directory = await manifestDirectory(context, { '.hidden': scheduler });
    assert.equal((await readStaticPods(join(directory, '.hidden'))).pods.length, 1);
  });

  it('finds nothing where there is no directory', async (context) => {
    const directory = await manifestDirectory(context, {});
    const nothing = { pods: [], problems: [], ignored: [] };
    assert.deepEqual(await readStaticPods(join(directory, 'none')), nothing);
  });
});
