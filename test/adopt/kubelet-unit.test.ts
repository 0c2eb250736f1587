import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { showOrigin } from '../../src/kubelet/command-word.ts';
import { readUnitCommand } from '../../src/adopt/kubelet-unit.ts';
import type { NodeFiles } from './node-files.ts';
import { kubeadmDropIn, kubeadmFiles, nodeTree, packagedUnit } from './node-files.ts';

const unit = 'kubelet.service';
const extra = '/etc/default/kubelet';

function service(exec: string): string {
  return `[Service]\nExecStart=${exec}\n`;
}

describe('readUnitCommand()', () => {
  const kubeadm = [
    '--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf',
    '--kubeconfig=/etc/kubernetes/kubelet.conf',
    '--config=/var/lib/kubelet/config.yaml',
    '--container-runtime-endpoint=unix:///var/run/containerd/containerd.sock',
    '--pod-infra-container-image=registry.k8s.io/pause:3.10',
  ];
  const rows: readonly (readonly [string, NodeFiles, readonly string[] | undefined])[] = [
    ['a node of kubeadm, $KUBELET_EXTRA_ARGS unset', kubeadmFiles, kubeadm],
    [
      'a node of kubeadm with arguments of its own',
      { ...kubeadmFiles, [extra]: `KUBELET_EXTRA_ARGS="--node-ip=10.0.0.5 --v=2"\n` },
      [...kubeadm, '--node-ip=10.0.0.5', '--v=2'],
    ],
    [
      "kubeadm's drop-in in /etc, as older packages have it",
      {
        '/lib/systemd/system/kubelet.service': packagedUnit,
        '/etc/systemd/system/kubelet.service.d/10-kubeadm.conf': kubeadmDropIn,
      },
      kubeadm.slice(0, 3),
    ],
    ['the package alone', { '/usr/lib/systemd/system/kubelet.service': packagedUnit }, []],
    [
      'plain flags over several lines',
      {
        '/etc/systemd/system/kubelet.service': service(
          '/usr/local/bin/kubelet \\\n  --kubeconfig=/var/lib/kubelet/kubeconfig \\\n  --tls-cert-file "/var/lib/kubelet/my pki/a.pem"',
        ),
      },
      [
        '--kubeconfig=/var/lib/kubelet/kubeconfig',
        '--tls-cert-file',
        '/var/lib/kubelet/my pki/a.pem',
      ],
    ],
    [
      'a unit in /etc before one in /usr/lib',
      {
        '/etc/systemd/system/kubelet.service': service('/usr/bin/kubelet --config=/etc/c'),
        '/usr/lib/systemd/system/kubelet.service': service('/usr/bin/kubelet --config=/usr/c'),
      },
      ['--config=/etc/c'],
    ],
    [
      'drop-ins by name, a masked one hidden',
      {
        '/usr/lib/systemd/system/kubelet.service': packagedUnit,
        '/usr/lib/systemd/system/kubelet.service.d/20.conf':
          'Environment=outside of a section\n[Service]\nExecStart=\nExecStart=/usr/bin/kubelet --config=/last',
        '/etc/systemd/system/kubelet.service.d/10.conf':
          '[Service]\nExecStart=\nExecStart=/usr/bin/kubelet --config=/first',
        '/usr/lib/systemd/system/kubelet.service.d/30.conf':
          '[Service]\nExecStart=\nExecStart=/usr/bin/kubelet --config=/masked',
        '/etc/systemd/system/kubelet.service.d/30.conf': { link: '/dev/null' },
        '/etc/systemd/system/kubelet.service.d/README': '[Service]\nExecStart=\n',
      },
      ['--config=/last'],
    ],
    [
      'a link from /lib to /usr/lib, as systems of today have it',
      {
        '/usr/lib/systemd/system/kubelet.service': service('/usr/bin/kubelet --v=1'),
        '/lib': { link: 'usr/lib' },
      },
      ['--v=1'],
    ],
    ['no unit', {}, undefined],
    ['a masked unit', { '/etc/systemd/system/kubelet.service': { link: '/dev/null' } }, undefined],
  ];
  for (const [name, files, expected] of rows) {
    it(`readUnitCommand() reads ${name}`, async (context) => {
      const command = await readUnitCommand(await nodeTree(context, files), unit);
      assert.deepEqual(
        command?.words?.map(({ text }) => text),
        expected,
      );
      assert.equal(command?.unclear, undefined);
    });
  }

  const unclear: readonly (readonly [string, string, RegExp])[] = [
    ['a shell', `/bin/sh -c "exec kubelet"`, /line 2 of .*kubelet\.service starts sh, not/],
    ['a wrapper', '/usr/local/bin/start-kubelet', /starts start-kubelet/],
    ['a quote without an end', '/usr/bin/kubelet "', /quote without an end/],
    ['no command', '', /has no ExecStart=/],
    [
      'what moves the cursor',
      String.raw`/usr/bin/kubelet --config=/a\x1b[2Jb`,
      /--config=\/a \[2Jb has a specifier of systemd, or what/,
    ],
    [
      'a specifier',
      '/usr/bin/kubelet --hostname-override=%H',
      /--hostname-override=%H has a specifier/,
    ],
  ];
  for (const [name, exec, why] of unclear) {
    it(`readUnitCommand() says that it cannot tell: ${name}`, async (context) => {
      const files = { '/etc/systemd/system/kubelet.service': service(exec) };
      const command = await readUnitCommand(await nodeTree(context, files), unit);
      assert.equal(command?.words, undefined);
      assert.match(command?.unclear ?? '', why);
    });
  }

  it('readUnitCommand() says where a word was written', async (context) => {
    const files = {
      ...kubeadmFiles,
      [extra]: '# mine\nKUBELET_EXTRA_ARGS="--v=2 --rotate-certificates=true"\n',
    };
    const command = await readUnitCommand(await nodeTree(context, files), unit);
    const origins = command?.words?.map(({ text, origin }) => `${text} ${showOrigin(origin)}`);
    assert.equal(
      origins?.at(-1),
      '--rotate-certificates=true line 2 of /etc/default/kubelet (KUBELET_EXTRA_ARGS)',
    );
    assert.match(
      origins?.[0] ?? '',
      /line 3 of \/usr\/lib.*10-kubeadm\.conf \(KUBELET_KUBECONFIG_ARGS\)$/,
    );
    assert.ok(command?.variables.includes('KUBELET_KUBEADM_ARGS'));
  });
});
