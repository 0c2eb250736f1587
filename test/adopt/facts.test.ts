import assert from 'node:assert/strict';
import { rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { gatherFacts } from '../../src/adopt/facts.ts';
import { planAdoption } from '../../src/adopt/adoption-plan.ts';
import { present } from '../store/pairs.ts';
import {
  clientLink,
  configFile,
  extraArgs,
  kubeadmNode,
  kubeletConfig,
  nodeConfig,
} from './kubeadm-node.ts';

describe('gatherFacts()', () => {
  it('gatherFacts() finds the paths of the kubelet, its settings and both pairs, through links of the image', async (context) => {
    const { facts, tree } = await kubeadmNode(context);
    const { paths, configuration, client, serving, live, canBootstrap } = await facts();
    assert.deepEqual(paths, {
      certificateDirectory: '/var/lib/kubelet/pki',
      configFile,
      kubeconfig: '/etc/kubernetes/kubelet.conf',
      bootstrapKubeconfig: '/etc/kubernetes/bootstrap-kubelet.conf',
      nodeName: 'n1',
    });
    assert.deepEqual(configuration, {
      kind: 'read',
      main: { file: configFile, settings: { rotateCertificates: true } },
      dropIns: [],
    });
    assert.equal(client?.pair?.subject.commonName, 'system:node:n1');
    assert.ok(client.pair.path.startsWith(tree.root));
    assert.equal(serving?.pair?.selfSigned, true);
    assert.deepEqual([live, canBootstrap], [false, false]);
  });

  it('gatherFacts() sees a rotation that is half done, and no half in a finished one', async (context) => {
    const { facts, tree } = await kubeadmNode(context);
    const link = join(tree.root, clientLink);
    const updated = link.replace('-current', '-updated');
    assert.equal((await facts()).client?.halfDone, false);
    await rename(link, updated);
    const found = await facts();
    assert.deepEqual([found.client?.halfDone, found.client?.pair], [true, undefined]);
    assert.deepEqual(
      planAdoption(found).obstacles.map(({ id }) => id),
      ['rotation-half-done'],
    );
    // The moment between the new pair and the removal of the old link.
    await symlink('/var/lib/kubelet/pki/kubelet-client-2026-06-01-00-00-00.pem', link);
    assert.equal((await facts()).client?.halfDone, false);
  });

  it('gatherFacts() takes a link that leads nowhere for no pair, and a torn file for a failure', async (context) => {
    const { facts, tree } = await kubeadmNode(context);
    const target = join(tree.root, 'var/lib/kubelet/pki/kubelet-server-2026-06-01-00-00-00.pem');
    await writeFile(target, 'torn');
    assert.equal((await facts()).serving?.failure?.code, 'PAIR_MALFORMED');
    await rm(target);
    const { serving } = await facts();
    assert.deepEqual([serving?.pair, serving?.failure], [undefined, undefined]);
  });

  it('gatherFacts() without a unit goes by the configuration of the agent', async (context) => {
    const { tree } = await kubeadmNode(context, {
      '/usr/lib/systemd/system/kubelet.service': '',
      '/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf': '',
      '/srv/kubelet.yaml': kubeletConfig,
      '/srv/d/1.conf': 'serverTLSBootstrap: true\n',
    });
    const files = { configFile: '/srv/kubelet.yaml', configDirectory: '/srv/d' };
    const config = { ...nodeConfig, kubelet: { ...nodeConfig.kubelet, ...files } };
    const found = await gatherFacts({ tree, config, hostName: 'other', now: present });
    assert.equal(found.kubelet.source, 'unknown');
    assert.equal(found.dropInFolder, 'directory');
    assert.deepEqual(found.paths, {
      ...files,
      kubeconfig: nodeConfig.kubeconfig,
      certificateDirectory: nodeConfig.certificateDirectory,
      nodeName: 'n1',
    });
  });

  it('gatherFacts() knows no name of a node without a host name, but for that of a flag', async (context) => {
    const { tree } = await kubeadmNode(context);
    const request = { tree, config: nodeConfig, now: present };
    assert.equal((await gatherFacts(request)).paths.nodeName, undefined);
    assert.ok(
      planAdoption(await gatherFacts(request)).notes.some(({ id }) => id === 'node-name-unknown'),
    );
    const named = await kubeadmNode(context, {
      [extraArgs]: 'KUBELET_EXTRA_ARGS=--hostname-override=Other\n',
    });
    const found = await gatherFacts({ ...request, tree: named.tree });
    assert.equal(found.paths.nodeName, 'other');
  });
});
