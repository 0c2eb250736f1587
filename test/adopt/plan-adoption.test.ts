import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { planAdoption } from '../../src/adopt/plan-adoption.ts';
import { parseKubeletFlags } from '../../src/kubelet/flags.ts';
import type { KubeletStart } from '../../src/kubelet/start.ts';
import { unknownStart } from '../../src/kubelet/start.ts';
import type { NodeFiles } from './node-files.ts';
import {
  adoptedConfig,
  clientLink,
  configFile,
  dropIns,
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
  startOf,
} from './kubeadm-node.ts';
import { diffsOf, planned, sentences } from './plan-text.ts';

const head = 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n';
const adopted = { [configFile]: adoptedConfig, [kubeconfigFile]: following };
const withFolder = startOf(`--config-dir=${dropIns}`);
const alpha = { ...withFolder, variables: ['KUBELET_CONFIG_DROPIN_DIR_ALPHA'] };
const notes = ['note self-signed'];
const kubeadm = ['step kubeconfig', 'step kubelet-config', 'note kubeadm-upgrade', ...notes];

/** A kubelet with only these flags. */
function startedWith(...flags: readonly string[]): KubeletStart {
  return { ...startOf(), flags: parseKubeletFlags(flags), variables: [] };
}

describe('planAdoption()', () => {
  it('changes what is needed in the files of kubeadm, and nothing else', async (context) => {
    const { facts } = await kubeadmNode(context);
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
`,
    );
    assert.doesNotMatch(JSON.stringify(plan.notes), /PRIVATE/);
  });

  const rows: readonly (readonly [string, NodeFiles, KubeletStart, readonly string[]])[] = [
    ['an adopted node', adopted, startOf(), []],
    [
      'a node whose flags have the values',
      { ...adopted, [configFile]: kubeletConfig },
      adoptedFlags(),
      [],
    ],
    ['a node of kubeadm', {}, startOf(), kubeadm],
    [
      'a kubeconfig that names an older pair',
      {
        ...adopted,
        [kubeconfigFile]: kubeconfigOf([
          'client-certificate: /var/lib/kubelet/pki/kubelet-client-2026-06-01-00-00-00.pem',
          'client-key: /var/lib/kubelet/pki/kubelet-client-2026-06-01-00-00-00.pem',
        ]),
      },
      startOf(),
      ['step kubeconfig', ...notes],
    ],
    [
      'a kubeconfig that embeds its key alone',
      {
        ...adopted,
        [kubeconfigFile]: kubeconfigOf([
          `client-certificate: ${clientLink}`,
          'client-key-data: a2V5',
        ]),
      },
      startOf(),
      ['step kubeconfig', ...notes],
    ],
    [
      'a kubeconfig that names the link by a relative path',
      {
        ...adopted,
        [kubeconfigFile]: kubeconfigOf([
          'client-certificate: ../../var/lib/kubelet/pki/kubelet-client-current.pem',
          'client-key: ../../var/lib/kubelet/pki/kubelet-client-current.pem',
        ]),
      },
      startOf(),
      [],
    ],
    [
      'a kubelet with --config-dir',
      { [`${dropIns}/10-mine.conf`]: head },
      withFolder,
      ['step kubeconfig', 'step kubelet-drop-in', ...notes],
    ],
    [
      'a --config-dir that does not exist',
      {},
      withFolder,
      ['step kubeconfig', 'obstacle drop-in-folder', ...notes],
    ],
    [
      'a --config-dir that is a link, which the kubelet does not follow',
      {
        '/srv/d/10.conf': `${head}rotateCertificates: true\n`,
        [dropIns]: { link: '/srv/d' },
      },
      withFolder,
      kubeadm,
    ],
    [
      'a kubelet whose drop-ins are alpha',
      { [`${dropIns}/10.conf`]: head },
      alpha,
      ['step kubeconfig', 'step kubelet-config', ...notes],
    ],
    [
      'the same with a drop-in that overrides the main file',
      { [`${dropIns}/10.conf`]: `${head}rotateCertificates: true\n` },
      alpha,
      ['step kubeconfig', 'obstacle drop-in-overrides', ...notes],
    ],
    [
      'a drop-in after which no name sorts',
      { [`${dropIns}/~last.conf`]: `${head}rotateCertificates: true\n` },
      withFolder,
      ['step kubeconfig', 'obstacle drop-in-overrides', ...notes],
    ],
    ['a contrary flag', adopted, startOf('--rotate-certificates'), ['obstacle kubelet-flag']],
    [
      'a contrary flag before a right one',
      adopted,
      startOf('--rotate-certificates', '--rotate-certificates=false'),
      ['obstacle kubelet-flag'],
    ],
    [
      'a kubelet without a configuration file',
      {},
      startedWith(`--kubeconfig=${kubeconfigFile}`, '--rotate-certificates'),
      ['step kubeconfig', 'obstacle kubelet-config-missing', 'obstacle kubelet-flag', ...notes],
    ],
    [
      'a missing configuration file',
      { [configFile]: '' },
      startOf(),
      ['step kubeconfig', 'obstacle kubelet-config-missing', ...notes],
    ],
    [
      'an invalid configuration file',
      { [configFile]: 'a: [' },
      startOf(),
      ['step kubeconfig', 'obstacle kubelet-config-invalid', ...notes],
    ],
    [
      'a configuration file that cannot be edited',
      { [configFile]: `${head}rotateCertificates: &yes true\nserverTLSBootstrap: *yes\n` },
      startOf(),
      ['step kubeconfig', 'obstacle kubelet-config-uneditable', ...notes],
    ],
    [
      'an invalid kubeconfig',
      { ...adopted, [kubeconfigFile]: 'a: [' },
      startOf(),
      ['obstacle kubeconfig-invalid'],
    ],
    [
      'a kubeconfig without a certificate',
      { ...adopted, [kubeconfigFile]: kubeconfigOf(['token: abc']) },
      startOf(),
      ['obstacle kubeconfig-unsupported'],
    ],
    [
      'a kubeconfig that cannot be edited',
      {
        ...adopted,
        [kubeconfigFile]: kubeconfigOf(['client-certificate: &a /a', 'client-key: *a']),
      },
      startOf(),
      ['obstacle kubeconfig-uneditable'],
    ],
    [
      'no kubeconfig, which the agent writes',
      { ...adopted, [kubeconfigFile]: '', [configFile]: kubeletConfig },
      startOf(),
      ['step kubelet-config', 'note kubeadm-upgrade', ...notes],
    ],
    [
      'a kubelet without an API server',
      {},
      startedWith(`--config=${configFile}`),
      ['obstacle kubelet-standalone'],
    ],
    [
      'a service whose command line is uncertain',
      {},
      { ...unknownStart, unit: 'kubelet.service', unclear: 'it starts /bin/sh' },
      ['obstacle kubelet-unclear'],
    ],
    [
      'no kubelet at all',
      {},
      unknownStart,
      ['step kubeconfig', 'step kubelet-config', 'note command-line-unknown', ...notes],
    ],
    ['another node name', {}, startOf('--hostname-override=N2'), ['obstacle node-name']],
    ['the same node name in capitals', adopted, startOf('--hostname-override=N1'), []],
    [
      'another certificate directory and another kubeconfig',
      {},
      startOf('--cert-dir=/srv/pki/', '--kubeconfig=/srv/kubelet.conf'),
      ['obstacle certificate-directory', 'obstacle kubeconfig-path', 'note kubelet-config-path'],
    ],
    [
      'another bootstrap kubeconfig',
      adopted,
      startOf('--bootstrap-kubeconfig=/srv/b.conf'),
      ['note bootstrap-kubeconfig'],
    ],
    [
      'another configuration file than the agent reads',
      { '/srv/config.yaml': adoptedConfig, [kubeconfigFile]: following },
      startOf('--config=/srv/config.yaml'),
      ['note kubelet-config-path'],
    ],
  ];
  it('needs no bootstrap kubeconfig with bootstrap.discovery', async (context) => {
    const kubelet = startOf('--bootstrap-kubeconfig=/srv/b.conf');
    const { facts } = await kubeadmNode(context, adopted, kubelet);
    const discovery = { endpoints: [], tokenFile: '/srv/token', pins: [] };
    const config = { ...nodeConfig, bootstrap: { discovery, deleteAfterUse: false } };
    assert.deepEqual(planned(await facts(config)), []);
  });

  for (const [name, files, kubelet, expected] of rows) {
    it(`finds for ${name}: ${expected.join(', ') || 'nothing to do'}`, async (context) => {
      const { facts } = await kubeadmNode(context, files, kubelet);
      const folder = kubelet.flags.some((flag) => flag.name === 'config-dir');
      const config = folder
        ? { ...nodeConfig, kubelet: { ...nodeConfig.kubelet, configDirectory: dropIns } }
        : nodeConfig;
      assert.deepEqual(planned(await facts(config)), expected);
    });
  }

  it('names every line of a flag that overrides the files', async (context) => {
    const { tree } = await kubeadmNode(context, {
      '/etc/default/kubelet': '# --rotate-certificates\nKUBELET_EXTRA_ARGS=--rotate_certificates\n',
      '/etc/90.conf': '[Service]\nEnvironment=A="--rotate-certificates=true --v=2"\n',
    });
    const files = ['/etc/90.conf', '/etc/default/kubelet'].map((file) => `${tree.root}${file}`);
    const [first, second] = files;
    const { facts } = await kubeadmNode(context, adopted, {
      ...startOf('--rotate-certificates'),
      files,
    });
    const plan = planAdoption(live(await facts()));
    const lines = `line 2 of ${first} and line 2 of ${second}`;
    assert.match(
      sentences(plan),
      new RegExp(`--rotate-certificates=true in ${lines} overrides the configuration files`),
    );
    assert.match(
      sentences(plan),
      new RegExp(
        `Remove --rotate-certificates from ${lines}, run systemctl daemon-reload && systemctl restart kubelet,`,
      ),
    );
  });

  it('creates a drop-in that sorts after all files with the same keys', async (context) => {
    const names = [
      ['10-a.conf', '90-nodecertd.conf'],
      ['95-a.conf', '99-nodecertd.conf'],
      ['99-z.conf', 'zz-nodecertd.conf'],
    ] as const;
    for (const [name, expected] of names) {
      const files = {
        [`${dropIns}/${name}`]: `${head}serverTLSBootstrap: null\n`,
        [`${dropIns}/zzzz-other.conf`]: `${head}port: 10250\n`,
      };
      const { facts } = await kubeadmNode(context, files, withFolder);
      const step = planAdoption(await facts()).steps.at(-1);
      assert.equal(step?.file, `${dropIns}/${expected}`);
      assert.equal(step.before, undefined);
      assert.match(step.after ?? '', new RegExp(`^#.*\\n${adoptedConfig}$`));
    }
  });

  it('updates its own drop-in where it is', async (context) => {
    const own = `${dropIns}/50-nodecertd.conf`;
    const files = {
      [kubeconfigFile]: following,
      [own]: `${head}rotateCertificates: false\ntlsCertFile: /old.pem\n`,
    };
    const { facts } = await kubeadmNode(context, files, withFolder);
    const [step] = planAdoption(await facts()).steps;
    assert.deepEqual([step?.file, step?.before?.includes('/old.pem')], [own, true]);
  });

  it('changes nothing about a certificate that nodecertd does not keep', async (context) => {
    const { facts } = await kubeadmNode(context);
    const client = planAdoption(await facts({ ...nodeConfig, certificates: [kubeletClient] }));
    assert.doesNotMatch(diffsOf(client), /tlsCertFile|serverTLSBootstrap/);
    const serving = planAdoption(await facts({ ...nodeConfig, certificates: [kubeletServer] }));
    assert.doesNotMatch(diffsOf(serving), /^[-+].*(?:rotateCertificates|client-key)/m);
    const none = planned(await facts({ ...nodeConfig, certificates: [] }));
    assert.deepEqual(none, ['obstacle nothing-kept']);
  });

  const unusable = [
    ['a password', ['username: a', 'password: b'], 'kubeconfig-unsupported'],
    [
      'a certificate that is missing',
      ['client-certificate: /a', 'client-key: /a'],
      'kubeconfig-invalid',
    ],
  ] as const;
  for (const [name, user, id] of unusable) {
    it(`refuses ${name}, even for a serving certificate alone`, async (context) => {
      const { facts } = await kubeadmNode(context, { [kubeconfigFile]: kubeconfigOf(user) });
      const plan = planAdoption(await facts({ ...nodeConfig, certificates: [kubeletServer] }));
      assert.deepEqual(
        plan.obstacles.map((obstacle) => obstacle.id),
        [id],
      );
    });
  }

  it('accepts an exec plugin for a serving certificate alone', async (context) => {
    const exec = [
      'exec:',
      '  apiVersion: client.authentication.k8s.io/v1',
      '  command: aws',
      '  args: [eks, get-token]',
      '  interactiveMode: Never',
    ];
    const { facts } = await kubeadmNode(context, { [kubeconfigFile]: kubeconfigOf(exec) });
    const plan = planAdoption(await facts({ ...nodeConfig, certificates: [kubeletServer] }));
    assert.deepEqual(plan.obstacles, []);
    const both = planAdoption(await facts());
    assert.deepEqual(
      both.obstacles.map(({ id }) => id),
      ['kubeconfig-unsupported'],
    );
  });
});

function adoptedFlags(): KubeletStart {
  return startOf(
    '--rotate-certificates=false',
    '--rotate_server_certificates=0',
    `--tls-cert-file=${serverLink}`,
    '--tls-private-key-file',
    serverLink,
  );
}

function lengthOf(kubeconfig = '', key: string): number {
  const data = new RegExp(`${key}: (\\S+)`).exec(kubeconfig)?.[1] ?? '';
  return Buffer.from(data, 'base64').length;
}

describe('planAdoption() on a running node', () => {
  it('notes that no agent runs', async (context) => {
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

  it('refuses several kubelets', async (context) => {
    const { facts } = await kubeadmNode(context);
    const found = live(await facts());
    const kubelet = { ...found.kubelet, several: [7, 8] };
    const plan = planAdoption({ ...found, kubelet });
    assert.match(
      sentences(plan),
      /^several-kubelets more than one kubelet is running: pid 7, 8 Stop .*: ps -fp 7,8$/m,
    );
    assert.deepEqual(plan.steps, []);
  });

  it('refuses a service that would start the kubelet with other flags', async (context) => {
    const { facts } = await kubeadmNode(context);
    const found = live(await facts());
    const nextFlags = found.kubelet.flags.filter(({ name }) => name !== 'bootstrap-kubeconfig');
    const plan = planAdoption({ ...found, kubelet: { ...found.kubelet, nextFlags } });
    assert.match(
      sentences(plan),
      /command-line-differs the running kubelet was started with --bootstrap-kubeconfig=\S+, but kubelet\.service would start it with no --bootstrap-kubeconfig/,
    );
    assert.deepEqual(plan.steps, []);
  });

  it('names the process and its service for a flag that is in no file', async (context) => {
    const kubelet: KubeletStart = {
      ...startOf('--tls-cert-file=/a'),
      source: 'process',
      commandLine: '/proc/7/cmdline',
      unit: 'rke2-agent.service',
    };
    const { facts } = await kubeadmNode(context, adopted, kubelet);
    assert.match(
      sentences(planAdoption(live(await facts()))),
      /--tls-cert-file=\/a in \/proc\/7\/cmdline overrides.*from the settings of rke2-agent\.service/s,
    );
  });
});

describe('planRestart()', () => {
  it('plans one restart of the service for any number of changes', async (context) => {
    const { facts } = await kubeadmNode(context);
    const plan = planAdoption(live(await facts()));
    assert.equal(plan.restart?.command, 'systemctl restart kubelet');
    assert.equal(plan.restart.unit, 'kubelet.service');
  });

  it('plans no restart of a kubelet that is not running', async (context) => {
    const { facts } = await kubeadmNode(context);
    const found = planned({ ...(await facts()), live: true, agentPid: 9 });
    assert.ok(!found.includes('restart') && found.includes('note kubelet-not-running'));
  });

  it('plans a restart of a kubelet that was started before the changes', async (context) => {
    const { facts } = await kubeadmNode(context, adopted);
    const found = live(await facts());
    const finishedAt = new Date(found.now - 1_000).toISOString();
    const manifest = {
      apiVersion: 'nodecertd.io/v1alpha1',
      kind: 'AdoptionManifest',
      version: '0.1.0',
      sequence: 1,
      state: 'applied',
      startedAt: finishedAt,
      finishedAt,
      changes: [],
    } as const;
    const runs = { active: [{ folder: '/', manifest }], obsolete: [], next: 2 };
    assert.deepEqual(planned({ ...found, runs }), ['restart']);
    const kubelet = { ...found.kubelet, running: { pid: 7, ageMs: 999 } };
    assert.deepEqual(planned({ ...found, runs, kubelet }), []);
  });
});
