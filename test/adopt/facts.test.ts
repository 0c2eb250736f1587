import assert from 'node:assert/strict';
import { rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { gatherFacts } from '../../src/adopt/facts.ts';
import { planAdoption } from '../../src/adopt/plan-adoption.ts';
import { unknownStart } from '../../src/kubelet/start.ts';
import { present } from '../store/pairs.ts';
import {
  clientLink,
  configFile,
  kubeadmNode,
  kubeletConfig,
  nodeConfig,
  requestFor,
  startOf,
} from './kubeadm-node.ts';

describe('gatherFacts()', () => {
  it('reads paths, settings and both pairs through the links of an image', async (context) => {
    const { facts, tree } = await kubeadmNode(context);
    const { paths, configuration, client, serving, live, canBootstrap } = await facts();
    assert.deepEqual(paths, {
      certificateDirectory: '/var/lib/kubelet/pki',
      configFile,
      configDirectory: undefined,
      kubeconfig: '/etc/kubernetes/kubelet.conf',
      bootstrapKubeconfig: '/etc/kubernetes/bootstrap-kubelet.conf',
      nodeName: 'n1',
    });
    assert.deepEqual(configuration, {
      kind: 'read',
      main: {
        file: configFile,
        text: kubeletConfig,
        settings: {
          rotateCertificates: true,
          clientCAFile: '/etc/kubernetes/pki/ca.crt',
          staticPodPath: '/etc/kubernetes/manifests',
        },
      },
      dropIns: [],
    });
    assert.equal(client?.pair?.subject.commonName, 'system:node:n1');
    assert.ok(client.pair.path.startsWith(tree.root));
    assert.equal(serving?.pair?.selfSigned, true);
    assert.deepEqual([live, canBootstrap], [false, false]);
  });

  it('detects a rotation that is half done', async (context) => {
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
    // The state after the kubelet removed its current link and before it renames the new link.
    await symlink('/var/lib/kubelet/pki/kubelet-client-2026-06-01-00-00-00.pem', link);
    assert.equal((await facts()).client?.halfDone, false);
  });

  it('finds no pair behind a dangling link, and a failure in a corrupt file', async (context) => {
    const { facts, tree } = await kubeadmNode(context);
    const target = join(tree.root, 'var/lib/kubelet/pki/kubelet-server-2026-06-01-00-00-00.pem');
    await writeFile(target, 'torn');
    assert.equal((await facts()).serving?.failure?.code, 'PAIR_MALFORMED');
    await rm(target);
    const { serving } = await facts();
    assert.deepEqual([serving?.pair, serving?.failure], [undefined, undefined]);
  });

  it('uses the paths of the agent for a kubelet whose command line is unknown', async (context) => {
    const { tree } = await kubeadmNode(context, {
      '/srv/kubelet.yaml': kubeletConfig,
      '/srv/d/1.conf': 'serverTLSBootstrap: true\n',
    });
    const files = { configFile: '/srv/kubelet.yaml', configDirectory: '/srv/d' };
    const config = { ...nodeConfig, kubelet: { ...nodeConfig.kubelet, ...files } };
    const request = { ...requestFor(tree, { kubelet: unknownStart }), config, now: present };
    const found = await gatherFacts(request);
    assert.equal(found.dropInFolder, 'directory');
    assert.deepEqual(found.paths, {
      ...files,
      kubeconfig: nodeConfig.kubeconfig,
      bootstrapKubeconfig: undefined,
      certificateDirectory: nodeConfig.certificateDirectory,
      nodeName: 'n1',
    });
    const nameless = await gatherFacts({ ...request, hostName: undefined });
    assert.equal(nameless.paths.nodeName, undefined);
    assert.ok(planAdoption(nameless).notes.some(({ id }) => id === 'node-name-unknown'));
  });

  it('takes the node name from a flag, else from the host name', async (context) => {
    const { tree } = await kubeadmNode(context);
    const request = { ...requestFor(tree), hostName: 'Host', now: present };
    assert.equal((await gatherFacts(request)).paths.nodeName, 'host');
    const flagged = requestFor(tree, { kubelet: startOf('--hostname-override=Other') });
    assert.equal((await gatherFacts({ ...request, ...flagged })).paths.nodeName, 'other');
  });
});
