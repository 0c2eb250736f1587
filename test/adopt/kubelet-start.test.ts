import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { KubeletProcess } from '../../src/kubelet/process.ts';
import { findKubeletStart, flaggedPath } from '../../src/adopt/kubelet-start.ts';
import type { NodeFiles } from './node-files.ts';
import { kubeadmFiles, nodeTree } from './node-files.ts';

function running(pid: number, unit: string | undefined, ...flags: string[]): KubeletProcess {
  const origin = { kind: 'process', pid } as const;
  return {
    pid,
    parent: 1,
    startedAt: 1_000,
    words: flags.map((text) => ({ text, origin })),
    workingDirectory: '/run',
    variables: [],
    ...(unit !== undefined && { unit }),
  };
}

const rke2 = [
  '--cert-dir=/var/lib/rancher/rke2/agent/pki',
  '--kubeconfig=/var/lib/rancher/rke2/agent/kubelet.kubeconfig',
  '--tls-cert-file=/var/lib/rancher/rke2/agent/serving-kubelet.crt',
  '--config-dir=/var/lib/rancher/rke2/agent/etc/kubelet.conf.d',
];
const rke2Unit = {
  '/usr/local/lib/systemd/system/rke2-agent.service':
    '[Service]\nExecStart=/usr/local/bin/rke2 agent\n',
};

describe('findKubeletStart()', () => {
  const rows: readonly (readonly [
    string,
    NodeFiles,
    readonly KubeletProcess[],
    {
      readonly source: string;
      readonly unit?: string;
      readonly unclear?: RegExp;
      readonly flags: number;
    },
  ])[] = [
    ['a unit', kubeadmFiles, [], { source: 'unit', unit: 'kubelet.service', flags: 3 }],
    [
      'a unit beside its process',
      kubeadmFiles,
      [running(7, 'kubelet.service', '--config=/c')],
      { source: 'unit', unit: 'kubelet.service', flags: 3 },
    ],
    [
      'the process alone, started by another service',
      rke2Unit,
      [running(7, 'rke2-agent.service', ...rke2)],
      { source: 'process', unit: 'rke2-agent.service', flags: 4 },
    ],
    [
      'the process alone, started by hand',
      {},
      [running(7, undefined, '--config=/c')],
      { source: 'process', flags: 1 },
    ],
    ['nothing', {}, [], { source: 'unknown', flags: 0 }],
    [
      'a wrapper that does not run',
      { '/etc/systemd/system/kubelet.service': '[Service]\nExecStart=/bin/wrapper\n' },
      [],
      { source: 'unknown', unit: 'kubelet.service', unclear: /wrapper/, flags: 0 },
    ],
  ];
  for (const [name, files, processes, expected] of rows) {
    it(`findKubeletStart() goes by ${name}`, async (context) => {
      const start = await findKubeletStart(await nodeTree(context, files), processes);
      assert.equal(start.source, expected.source);
      assert.equal(start.unit, expected.unit);
      assert.equal(start.flags.length, expected.flags);
      assert.match(start.unclear ?? '', expected.unclear ?? /^$/);
      assert.equal(start.running?.pid, processes[0]?.pid);
      assert.equal(start.several, undefined);
    });
  }

  it('findKubeletStart() names all of several', async (context) => {
    const tree = await nodeTree(context, {});
    const start = await findKubeletStart(tree, [running(7, undefined), running(9, undefined)]);
    assert.deepEqual(start.several, [7, 9]);
  });
});

describe('flaggedPath()', () => {
  const rows: readonly (readonly [string, string, string | undefined])[] = [
    ['an absolute path', '--config=/a/../b.yaml', '/b.yaml'],
    ['one from the working directory', '--config=b.yaml', '/run/b.yaml'],
    ['an empty one', '--config=', undefined],
    ['none', '--v=2', undefined],
  ];
  for (const [name, flag, expected] of rows) {
    it(`flaggedPath() makes of ${name} ${expected ?? 'nothing'}`, async (context) => {
      const tree = await nodeTree(context, {});
      const start = await findKubeletStart(tree, [running(7, undefined, flag)]);
      assert.equal(flaggedPath(start, 'config'), expected);
    });
  }

  it('flaggedPath() keeps the slash at the end, by which a link to a folder is followed', async (context) => {
    const tree = await nodeTree(context, {});
    const start = await findKubeletStart(tree, [running(7, undefined, '--config-dir=/etc/d/')]);
    assert.equal(flaggedPath(start, 'config-dir'), '/etc/d/');
  });
});
