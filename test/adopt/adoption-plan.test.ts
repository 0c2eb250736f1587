import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { planAdoption } from '../../src/adopt/adoption-plan.ts';
import { present } from '../store/pairs.ts';
import type { NodeFiles } from './node-files.ts';
import { packagedUnit } from './node-files.ts';
import {
  clientLink,
  configFile,
  extraArgs,
  following,
  kubeadmNode,
  kubeconfigFile,
  kubeconfigOf,
  kubeletClient,
  kubeletConfig,
  kubeletServer,
  live,
  nodeConfig,
  serverLink,
} from './kubeadm-node.ts';
import { diffsOf, planned, sentences } from './plan-text.ts';

const dropIns = '/etc/kubernetes/kubelet.conf.d';
const head = 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n';
const withFolder = { [extraArgs]: `KUBELET_EXTRA_ARGS=--config-dir=${dropIns}\n` };
const ours = `rotateCertificates: false
serverTLSBootstrap: false
tlsCertFile: ${serverLink}
tlsPrivateKeyFile: ${serverLink}
`;
const configured = { [configFile]: `${head}${ours}`, [kubeconfigFile]: following };
const notes = ['note self-signed'];

describe('planAdoption()', () => {
  it('planAdoption() changes what is needed in the files of kubeadm, and nothing else', async (context) => {
    const { facts } = await kubeadmNode(context, {
      [extraArgs]:
        '# mine\nKUBELET_EXTRA_ARGS="--node-ip=10.0.0.5 --rotate-certificates=true --rotate-server-certificates --v=2"\n',
    });
    const plan = planAdoption(await facts());
    assert.deepEqual(plan.obstacles, []);
    assert.equal(
      diffsOf(plan),
      `--- /etc/kubernetes/kubelet.conf
+++ /etc/kubernetes/kubelet.conf
@@ -13,5 +13,5 @@
 users:
 - name: system:node:n1
   user:
-    client-certificate-data: <${lengthOf(plan.steps[0]?.before, 'client-certificate-data')} bytes, not shown>
-    client-key-data: <${lengthOf(plan.steps[0]?.before, 'client-key-data')} bytes, not shown>
+    client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem
+    client-key: /var/lib/kubelet/pki/kubelet-client-current.pem
--- /var/lib/kubelet/config.yaml
+++ /var/lib/kubelet/config.yaml
@@ -5,5 +5,7 @@
 clusterDNS:
 - 10.96.0.10
 kind: KubeletConfiguration
-rotateCertificates: true
+rotateCertificates: false
 staticPodPath: /etc/kubernetes/manifests
+tlsCertFile: /var/lib/kubelet/pki/kubelet-server-current.pem
+tlsPrivateKeyFile: /var/lib/kubelet/pki/kubelet-server-current.pem
--- /etc/default/kubelet
+++ /etc/default/kubelet
@@ -1,2 +1,2 @@
 # mine
-KUBELET_EXTRA_ARGS="--node-ip=10.0.0.5 --rotate-certificates=true --rotate-server-certificates --v=2"
+KUBELET_EXTRA_ARGS="--node-ip=10.0.0.5 --v=2"
`,
    );
    assert.doesNotMatch(JSON.stringify(plan.notes), /PRIVATE/);
  });

  const rows: readonly (readonly [string, NodeFiles, readonly string[]])[] = [
    ['a node that is handed over', configured, []],
    [
      'one whose flags say it',
      { ...configured, [configFile]: kubeletConfig, [extraArgs]: flagsThatSayIt() },
      [],
    ],
    ['kubeadm', {}, ['step kubeconfig', 'step kubelet-config', 'note kubeadm-upgrade', ...notes]],
    [
      'a kubeconfig that names an older pair',
      {
        ...configured,
        [kubeconfigFile]: kubeconfigOf([
          'client-certificate: /var/lib/kubelet/pki/kubelet-client-2026-06-01-00-00-00.pem',
          'client-key: /var/lib/kubelet/pki/kubelet-client-2026-06-01-00-00-00.pem',
        ]),
      },
      ['step kubeconfig', ...notes],
    ],
    [
      'a kubeconfig whose key alone is embedded',
      {
        ...configured,
        [kubeconfigFile]: kubeconfigOf([
          `client-certificate: ${clientLink}`,
          'client-key-data: a2V5',
        ]),
      },
      ['step kubeconfig', ...notes],
    ],
    [
      'a kubeconfig that names the link from its own folder',
      {
        ...configured,
        [kubeconfigFile]: kubeconfigOf([
          'client-certificate: ../../var/lib/kubelet/pki/kubelet-client-current.pem',
          'client-key: ../../var/lib/kubelet/pki/kubelet-client-current.pem',
        ]),
      },
      [],
    ],
    [
      'a kubelet with a folder for drop-ins',
      { ...withFolder, [`${dropIns}/10-mine.conf`]: head },
      ['step kubeconfig', 'step kubelet-drop-in', ...notes],
    ],
    [
      'a folder for drop-ins that is not there',
      withFolder,
      ['step kubeconfig', 'obstacle drop-in-folder', ...notes],
    ],
    [
      'a folder that is a link, which the kubelet passes over',
      {
        ...withFolder,
        '/srv/d/10.conf': `${head}rotateCertificates: true\n`,
        [dropIns]: { link: '/srv/d' },
      },
      ['step kubeconfig', 'step kubelet-config', 'note kubeadm-upgrade', ...notes],
    ],
    [
      'a kubelet whose drop-ins are alpha',
      {
        [extraArgs]: `KUBELET_CONFIG_DROPIN_DIR_ALPHA=1\nKUBELET_EXTRA_ARGS=--config-dir=${dropIns}\n`,
        [`${dropIns}/10.conf`]: head,
      },
      ['step kubeconfig', 'step kubelet-config', 'note kubeadm-upgrade', ...notes],
    ],
    [
      'the same, with a drop-in that has the last word',
      {
        [extraArgs]: `KUBELET_CONFIG_DROPIN_DIR_ALPHA=1\nKUBELET_EXTRA_ARGS=--config-dir=${dropIns}\n`,
        [`${dropIns}/10.conf`]: `${head}rotateCertificates: true\n`,
      },
      ['step kubeconfig', 'obstacle drop-in-overrides', ...notes],
    ],
    [
      'a drop-in that no name comes after',
      { ...withFolder, [`${dropIns}/~last.conf`]: `${head}rotateCertificates: true\n` },
      ['step kubeconfig', 'obstacle drop-in-overrides', ...notes],
    ],
    [
      'a flag in a unit file',
      {
        '/etc/systemd/system/kubelet.service.d/90.conf':
          '[Service]\nEnvironment=KUBELET_EXTRA_ARGS=--rotate-certificates\n',
      },
      [
        'step kubeconfig',
        'step kubelet-config',
        'obstacle kubelet-flag',
        'note kubeadm-upgrade',
        ...notes,
      ],
    ],
    [
      'a flag in a value with escapes',
      { ...configured, [extraArgs]: 'KUBELET_EXTRA_ARGS="--rotate-certificates --x=\\"y\\""\n' },
      ['obstacle kubelet-flag'],
    ],
    [
      'a flag that is contrary, and one behind it that is not',
      {
        ...configured,
        [extraArgs]: 'KUBELET_EXTRA_ARGS="--rotate-certificates --rotate-certificates=false"\n',
      },
      ['step kubelet-flags', ...notes],
    ],
    [
      'a kubelet without a configuration file',
      {
        '/etc/systemd/system/kubelet.service': `[Service]\nExecStart=/usr/bin/kubelet --kubeconfig=${kubeconfigFile} --rotate-certificates\n`,
        '/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf': '',
      },
      ['step kubeconfig', 'obstacle kubelet-config-missing', 'obstacle kubelet-flag', ...notes],
    ],
    [
      'a missing configuration file',
      { [configFile]: '' },
      ['step kubeconfig', 'obstacle kubelet-config-missing', ...notes],
    ],
    [
      'a broken configuration file',
      { [configFile]: 'a: [' },
      ['step kubeconfig', 'obstacle kubelet-config-invalid', ...notes],
    ],
    [
      'a configuration file that cannot be edited',
      { [configFile]: '# c\n{kind: KubeletConfiguration, rotateCertificates: true}\n' },
      ['step kubeconfig', 'obstacle kubelet-config-uneditable', ...notes],
    ],
    [
      'a broken kubeconfig',
      { ...configured, [kubeconfigFile]: 'a: [' },
      ['obstacle kubeconfig-invalid'],
    ],
    [
      'a kubeconfig with a plug-in',
      { ...configured, [kubeconfigFile]: kubeconfigOf(['exec:', '  command: aws']) },
      ['obstacle kubeconfig-unsupported'],
    ],
    [
      'a kubeconfig that cannot be edited',
      {
        ...configured,
        [kubeconfigFile]: kubeconfigOf([]).replace(
          '  user:\n',
          '  user: {client-certificate: /a, client-key: /a}\n',
        ),
      },
      ['obstacle kubeconfig-uneditable'],
    ],
    [
      'no kubeconfig, which the agent writes',
      { ...configured, [kubeconfigFile]: '', [configFile]: kubeletConfig },
      ['step kubelet-config', 'note kubeadm-upgrade', ...notes],
    ],
    [
      'a kubelet in standalone mode',
      {
        '/etc/systemd/system/kubelet.service': `[Service]\nExecStart=/usr/bin/kubelet --config=${configFile}\n`,
        '/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf': '',
      },
      ['obstacle kubelet-standalone'],
    ],
    [
      'a wrapper',
      {
        '/etc/systemd/system/kubelet.service.d/99.conf':
          '[Service]\nExecStart=\nExecStart=/bin/sh -c kubelet\n',
      },
      ['obstacle kubelet-unclear'],
    ],
    [
      'the package without kubeadm',
      {
        '/usr/lib/systemd/system/kubelet.service': packagedUnit,
        '/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf': '',
      },
      ['obstacle kubelet-standalone'],
    ],
    [
      'no unit at all',
      {
        '/usr/lib/systemd/system/kubelet.service': '',
        '/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf': '',
      },
      ['step kubeconfig', 'step kubelet-config', 'note command-line-unknown', ...notes],
    ],
    [
      'another node name',
      { [extraArgs]: 'KUBELET_EXTRA_ARGS=--hostname-override=N2\n' },
      ['obstacle node-name'],
    ],
    [
      'the same name in capitals',
      { ...configured, [extraArgs]: 'KUBELET_EXTRA_ARGS=--hostname-override=N1\n' },
      [],
    ],
    [
      'another directory and another kubeconfig',
      { [extraArgs]: 'KUBELET_EXTRA_ARGS="--cert-dir=/srv/pki/ --kubeconfig=/srv/kubelet.conf"\n' },
      ['obstacle certificate-directory', 'obstacle kubeconfig-path', 'note kubelet-config-path'],
    ],
    [
      'another bootstrap kubeconfig',
      { ...configured, [extraArgs]: 'KUBELET_EXTRA_ARGS=--bootstrap-kubeconfig=/srv/b.conf\n' },
      ['note bootstrap-kubeconfig'],
    ],
    [
      'another configuration file than the agent looks at',
      {
        '/srv/config.yaml': `${head}${ours}`,
        [kubeconfigFile]: following,
        [extraArgs]: 'KUBELET_EXTRA_ARGS=--config=/srv/config.yaml\n',
      },
      ['note kubelet-config-path'],
    ],
  ];
  for (const [name, files, expected] of rows) {
    it(`planAdoption() finds for ${name}: ${expected.join(', ') || 'nothing to do'}`, async (context) => {
      const { facts } = await kubeadmNode(context, files);
      const found = planned(await facts());
      // That the agent looks at another folder is told for all that have one.
      const watched = `KUBELET_EXTRA_ARGS=--config-dir`;
      const other = Object.values(files).some(
        (text) => typeof text === 'string' && text.includes(watched),
      );
      assert.deepEqual(
        found.filter((id) => !other || id !== 'note kubelet-config-path'),
        expected,
      );
    });
  }

  it('planAdoption() names file and line of a flag in the way, and who could take it out', async (context) => {
    const { facts } = await kubeadmNode(context, {
      '/etc/systemd/system/kubelet.service.d/90.conf':
        '# x\n[Service]\nEnvironment=KUBELET_EXTRA_ARGS=--tls-cert-file=/a.pem\n',
    });
    assert.match(
      sentences(planAdoption(await facts())),
      /--tls-cert-file=\/a\.pem in line 3 of \/etc\/systemd\/system\/kubelet\.service\.d\/90\.conf \(KUBELET_EXTRA_ARGS\) overrides/,
    );
  });

  it('planAdoption() makes a drop-in that is read after all that have a word on it', async (context) => {
    const names = [
      ['10-a.conf', '90-nodecertd.conf'],
      ['95-a.conf', '99-nodecertd.conf'],
      ['99-z.conf', 'zz-nodecertd.conf'],
    ] as const;
    for (const [name, expected] of names) {
      const { facts } = await kubeadmNode(context, {
        ...withFolder,
        [`${dropIns}/${name}`]: `${head}serverTLSBootstrap: null\n`,
        [`${dropIns}/zzzz-other.conf`]: `${head}port: 10250\n`,
      });
      const step = planAdoption(await facts()).steps.at(-1);
      assert.equal(step?.file, `${dropIns}/${expected}`);
      assert.equal(step.before, undefined);
      assert.match(step.after ?? '', new RegExp(`^#.*\\n${head}${ours}$`));
    }
  });

  it('planAdoption() brings a drop-in of its own up to date where it is', async (context) => {
    const own = `${dropIns}/50-nodecertd.conf`;
    const { facts } = await kubeadmNode(context, {
      ...withFolder,
      [kubeconfigFile]: following,
      [own]: `${head}rotateCertificates: false\ntlsCertFile: /old.pem\n`,
    });
    const [step] = planAdoption(await facts()).steps;
    assert.deepEqual([step?.file, step?.before?.includes('/old.pem')], [own, true]);
  });

  it('planAdoption() keeps to the certificates that the agent keeps', async (context) => {
    const { facts } = await kubeadmNode(context);
    const client = planAdoption(await facts({ ...nodeConfig, certificates: [kubeletClient] }));
    assert.doesNotMatch(diffsOf(client), /tlsCertFile|serverTLSBootstrap/);
    const serving = planAdoption(await facts({ ...nodeConfig, certificates: [kubeletServer] }));
    assert.doesNotMatch(diffsOf(serving), /^[-+].*(?:rotateCertificates|client-key)/m);
    const none = planned(await facts({ ...nodeConfig, certificates: [] }));
    assert.deepEqual(none, ['obstacle nothing-kept']);
  });
});

function flagsThatSayIt(): string {
  const flags = [
    '--rotate-certificates=false',
    '--rotate_server_certificates=0',
    `--tls-cert-file=${serverLink}`,
    `--tls-private-key-file ${serverLink}`,
  ];
  return `KUBELET_EXTRA_ARGS="${flags.join(' ')}"\n`;
}

function lengthOf(kubeconfig = '', key: string): number {
  const data = new RegExp(`${key}: (\\S+)`).exec(kubeconfig)?.[1] ?? '';
  return Buffer.from(data, 'base64').length;
}

describe('planAdoption() on a running node', () => {
  it('planAdoption() tells that no agent works on the directory', async (context) => {
    const { facts } = await kubeadmNode(context);
    const { agentPid: _, ...found } = live(await facts());
    assert.deepEqual(planned(found), [
      'step kubeconfig',
      'step kubelet-config',
      'note agent-not-running',
      'note kubeadm-upgrade',
      'note self-signed',
      'restart',
    ]);
  });

  it('planAdoption() does not choose among several kubelets', async (context) => {
    const { facts } = await kubeadmNode(context);
    const found = live(await facts());
    const kubelet = { ...found.kubelet, several: [7, 8] };
    const plan = planAdoption({ ...found, kubelet });
    assert.match(
      sentences(plan),
      /^several-kubelets more than one kubelet runs here: 7, 8 ps -fp 7,8;/,
    );
    assert.deepEqual(plan.steps, []);
  });

  it('planAdoption() refuses while the running kubelet and its unit do not agree on where things are', async (context) => {
    const { facts } = await kubeadmNode(context);
    const found = await facts();
    const flags = found.kubelet.flags.filter(({ name }) => name !== 'bootstrap-kubeconfig');
    const running = { pid: 7, startedAt: present, flags };
    const plan = planAdoption(live(found, { kubelet: { ...found.kubelet, running } }));
    assert.match(
      sentences(plan),
      /command-line-differs the running kubelet has no --bootstrap-kubeconfig, its unit --bootstrap-kubeconfig=/,
    );
    assert.deepEqual(plan.steps, []);
  });

  it('planAdoption() names a process and what starts it for flags without a file', async (context) => {
    const { facts } = await kubeadmNode(context, configured);
    const found = await facts();
    const origin = { kind: 'process', pid: 7 } as const;
    const flag = { name: 'tls-cert-file', value: '/a', words: [{ text: '', origin }] } as const;
    const kubelet = {
      ...found.kubelet,
      source: 'process',
      unit: 'rke2-agent.service',
      flags: [...found.kubelet.flags, flag],
    } as const;
    assert.match(
      sentences(planAdoption({ ...found, kubelet })),
      /the command line of the process 7 overrides.*what rke2-agent\.service starts the kubelet with/s,
    );
  });
});
