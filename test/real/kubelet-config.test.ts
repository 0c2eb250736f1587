import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { adopt, revert } from '../../src/adopt/adoption.ts';
import { findKubeletStart } from '../../src/adopt/kubelet-start.ts';
import type { Tree } from '../../src/adopt/tree.ts';
import { readUnitCommand } from '../../src/adopt/kubelet-unit.ts';
import { kubeletFacts, readKubeletLayers } from '../../src/kubelet/configuration.ts';
import type { NodeFiles } from '../adopt/node-files.ts';
import { nodeTree } from '../adopt/node-files.ts';
import {
  configFile,
  extraArgs,
  kubeadmNode,
  kubeletConfig,
  serverLink,
  requestFor,
} from '../adopt/kubeadm-node.ts';
import { runKubelet, skipWithoutRealKubelet } from '../support/real-kubelet.ts';

const head = 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n';
const folder = '/etc/kubelet.d';
const keys = [
  'rotateCertificates',
  'serverTLSBootstrap',
  'tlsCertFile',
  'tlsPrivateKeyFile',
] as const;

/** The four settings. The kubelet omits false and empty values. */
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
      'drop-ins, one in a folder before the file of that name',
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
      'a null, which takes back what was said before',
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
      'a link in the place of the folder',
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

  const nodes: readonly (readonly [string, NodeFiles])[] = [
    ['of kubeadm', {}],
    [
      'with contrary flags',
      {
        [extraArgs]:
          'KUBELET_EXTRA_ARGS="--rotate-certificates=true --rotate-server-certificates --tls-cert-file=/x --tls-private-key-file /x --v=2"\n',
      },
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
    ],
    [
      'with comments and every setting contrary',
      {
        [configFile]: `# c\n${kubeletConfig}serverTLSBootstrap: true # x\ntlsCertFile: rel.pem\ntlsPrivateKeyFile: "/k"\n`,
      },
    ],
    [
      'with drop-ins',
      {
        [extraArgs]: `KUBELET_EXTRA_ARGS=--config-dir=${folder}\n`,
        [`${folder}/95-a.conf`]: `${head}rotateCertificates: true\ntlsCertFile: null\n`,
        [`${folder}/sub/99.conf`]: `${head}serverTLSBootstrap: true\n`,
      },
    ],
    [
      'with drop-ins alone',
      {
        '/etc/systemd/system/kubelet.service.d/99.conf': `[Service]\nExecStart=\nExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS --config-dir ${folder}\n`,
        [`${folder}/10-a.conf`]: `${head}rotateCertificates: true\n`,
      },
    ],
  ];
  for (const [name, files] of nodes) {
    it(`accepts a node ${name} after adopt, and after --revert`, async (context) => {
      const { tree } = await kubeadmNode(context, files);
      const before = await asStarted(tree);
      const request = requestFor(tree);
      const { plan } = await adopt(request);
      assert.deepEqual(plan.obstacles, []);
      assert.deepEqual(await asStarted(tree), [false, false, serverLink, serverLink]);
      await revert(request, { force: false });
      assert.deepEqual(await asStarted(tree), before);
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

/** Returns the effective configuration of a kubelet that its unit starts. */
async function asStarted(tree: Tree): Promise<unknown[]> {
  const { unit = '' } = await findKubeletStart(tree, []);
  const words = (await readUnitCommand(tree, unit))?.words ?? [];
  const args = words.map(({ text }) => text).filter((text) => !text.startsWith('--pod-infra'));
  const { effective, output } = await runKubelet(tree.root, args);
  assert.ok(effective !== undefined, output);
  return settingsOf(effective);
}
