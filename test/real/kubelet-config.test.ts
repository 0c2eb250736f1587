import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { adopt, revert } from '../../src/adopt/adoption.ts';
import type { Tree } from '../../src/sys/tree.ts';
import type { KubeletStart } from '../../src/kubelet/start.ts';
import { kubeletFacts, readKubeletLayers } from '../../src/kubelet/configuration.ts';
import type { NodeFiles } from '../adopt/node-files.ts';
import { nodeTree } from '../adopt/node-files.ts';
import {
  configFile,
  dropIns,
  kubeadmNode,
  kubeletConfig,
  serverLink,
  requestFor,
  startOf,
} from '../adopt/kubeadm-node.ts';
import { runKubelet, skipWithoutRealKubelet } from '../support/real-kubelet.ts';

const head = 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n';
const folder = dropIns;
const keys = [
  'rotateCertificates',
  'serverTLSBootstrap',
  'tlsCertFile',
  'tlsPrivateKeyFile',
] as const;

/** The four settings; the kubelet omits a value that is false or empty. */
function settingsOf(effective: Readonly<Record<string, unknown>> = {}): unknown[] {
  return keys.map((key) => effective[key] ?? (key.startsWith('tls') ? '' : false));
}

void describe('a real kubelet', { skip: skipWithoutRealKubelet(), timeout: 300_000 }, () => {
  const layers: readonly (readonly [string, NodeFiles, string | undefined])[] = [
    [
      'a file alone',
      { [configFile]: `${head}rotateCertificates: true\ntlsCertFile: /a.pem\n` },
      undefined,
    ],
    [
      'words for true',
      { [configFile]: `${head}rotateCertificates: yes\nserverTLSBootstrap: on\n` },
      undefined,
    ],
    [
      'JSON',
      {
        [configFile]: JSON.stringify({
          apiVersion: 'kubelet.config.k8s.io/v1beta1',
          kind: 'KubeletConfiguration',
          serverTLSBootstrap: true,
        }),
      },
      undefined,
    ],
    [
      'drop-ins, with a folder that sorts before the file of its name',
      {
        [configFile]: `${head}rotateCertificates: true\n`,
        [`${folder}/10.conf`]: `${head}rotateCertificates: false\ntlsCertFile: /10.pem\n`,
        [`${folder}/a/x.conf`]: `${head}tlsCertFile: /x.pem\ntlsPrivateKeyFile: /x.pem\n`,
        [`${folder}/a.conf`]: `${head}tlsCertFile: /a.pem\n`,
        [`${folder}/zz.yaml`]: `${head}tlsCertFile: /none.pem\n`,
      },
      folder,
    ],
    [
      'a null, which removes an earlier value',
      {
        [configFile]: `${head}rotateCertificates: true\nserverTLSBootstrap: true\n`,
        [`${folder}/10.conf`]: `${head}serverTLSBootstrap: null\n`,
      },
      folder,
    ],
    [
      'a hidden file',
      { [configFile]: head, [`${folder}/.hidden.conf`]: `${head}serverTLSBootstrap: true\n` },
      folder,
    ],
    [
      'a --config-dir that is a link',
      {
        [configFile]: head,
        '/srv/d/10.conf': `${head}serverTLSBootstrap: true\n`,
        [folder]: { link: '/srv/d' },
      },
      folder,
    ],
    [
      'the same with a slash at its end',
      {
        [configFile]: head,
        '/srv/d/10.conf': `${head}serverTLSBootstrap: true\n`,
        [folder]: { link: '/srv/d' },
      },
      `${folder}/`,
    ],
    [
      'a link to a file among the drop-ins',
      {
        [configFile]: head,
        '/srv/10.conf': `${head}serverTLSBootstrap: true\n`,
        [`${folder}/10.conf`]: { link: '/srv/10.conf' },
      },
      folder,
    ],
  ];
  for (const [name, files, directory] of layers) {
    it(`uses the settings that readKubeletLayers() returns: ${name}`, async (context) => {
      const tree = await nodeTree(context, files);
      const args = [
        `--config=${configFile}`,
        ...(directory === undefined ? [] : [`--config-dir=${directory}`]),
      ];
      const { effective, output } = await runKubelet(tree.root, args);
      assert.ok(effective !== undefined, output);
      const kubelet = {
        configFile,
        ...(directory !== undefined && { configDirectory: directory }),
      };
      const found = kubeletFacts(configFile, await readKubeletLayers(kubelet, locateIn(tree)));
      const settings = Object.fromEntries(keys.map((key) => [key, found[key]?.value]));
      assert.deepEqual(settingsOf(effective), settingsOf(settings));
    });
  }

  const nodes: readonly (readonly [string, NodeFiles, KubeletStart])[] = [
    ['of kubeadm', {}, startOf()],
    [
      'with flags that have the target values',
      {},
      startOf('--rotate-certificates=false', `--tls-cert-file=${serverLink}`),
    ],
    [
      'with JSON',
      {
        [configFile]: JSON.stringify(
          {
            apiVersion: 'kubelet.config.k8s.io/v1beta1',
            kind: 'KubeletConfiguration',
            rotateCertificates: true,
            serverTLSBootstrap: true,
          },
          undefined,
          2,
        ),
      },
      startOf(),
    ],
    [
      'with comments and every setting contrary',
      {
        [configFile]: `# c\n${kubeletConfig}serverTLSBootstrap: true # x\ntlsCertFile: rel.pem\ntlsPrivateKeyFile: "/k"\n`,
      },
      startOf(),
    ],
    [
      'with drop-ins',
      {
        [`${folder}/95-a.conf`]: `${head}rotateCertificates: true\ntlsCertFile: null\n`,
        [`${folder}/sub/99.conf`]: `${head}serverTLSBootstrap: true\n`,
      },
      startOf(`--config-dir=${folder}`),
    ],
    [
      'with drop-ins alone',
      { [configFile]: '', [`${folder}/10-a.conf`]: `${head}rotateCertificates: true\n` },
      withoutConfig(startOf(`--config-dir=${folder}`)),
    ],
  ];
  for (const [name, files, kubelet] of nodes) {
    it(`accepts a node ${name} after adopt, and after --revert`, async (context) => {
      const { tree } = await kubeadmNode(context, files);
      const before = await asStarted(tree, kubelet);
      const request = requestFor(tree, { kubelet });
      const { plan } = await adopt(request);
      assert.deepEqual(plan.obstacles, []);
      assert.deepEqual(await asStarted(tree, kubelet), [false, false, serverLink, serverLink]);
      await revert(request, { force: false });
      assert.deepEqual(await asStarted(tree, kubelet), before);
    });
  }

  it('rejects a missing drop-in folder and a drop-in without a kind', async (context) => {
    const files = { [configFile]: head, [`${folder}/10.conf`]: 'rotateCertificates: false\n' };
    const tree = await nodeTree(context, files);
    for (const directory of ['/none.d', folder]) {
      const args = [`--config=${configFile}`, `--config-dir=${directory}`];
      const { effective, output } = await runKubelet(tree.root, args);
      assert.equal(effective, undefined);
      assert.match(output, /failed to walk through kubelet dropin directory/);
    }
  });
});

function locateIn(tree: Tree): (path: string) => Promise<string> {
  return async (path) => (await tree.locate(path)).physical;
}

function withoutConfig(start: KubeletStart): KubeletStart {
  return { ...start, flags: start.flags.filter(({ name }) => name !== 'config') };
}

/** The settings of a kubelet that is started with these flags. */
async function asStarted(tree: Tree, { flags }: KubeletStart): Promise<unknown[]> {
  const args = flags.map(({ name, value }) => `--${name}=${value}`);
  const { effective, output } = await runKubelet(tree.root, args);
  assert.ok(effective !== undefined, output);
  return settingsOf(effective);
}
