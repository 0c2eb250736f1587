import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { DiscoveryPlane, idOf } from '../support/discovery-plane.ts';
import { bootKubeletNode, skipWithoutKubeletNode, untilReady } from '../support/kubelet-node.ts';
import { NewMachine } from '../support/new-machine.ts';

const nodeName = 'discovered-1';

describe('nodecertd discover', { skip: skipWithoutKubeletNode(), timeout: 300_000 }, () => {
  it('writes a kubeconfig with which a real kubelet bootstraps', async () => {
    await using cluster = await DiscoveryPlane.start();
    const { plane, endpoint, pin } = cluster;
    await using machine = await NewMachine.create(await cluster.createSignedToken());
    const ended = await machine.discover('--endpoint', endpoint, '--ca-cert-hash', pin);
    assert.equal(ended.code, 0, ended.stderr);

    const node = { nodeName, port: 10_253, controlPlane: plane };
    await using container = await bootKubeletNode(node);
    const kubeconfig = await readFile(machine.output, 'utf8');
    await container.write('/etc/kubernetes/bootstrap-kubelet.conf', kubeconfig, 0o600);
    await container.must('systemctl', 'start', 'kubelet.service');
    await untilReady(container, node);

    const user = `system:bootstrap:${idOf(machine.token)}`;
    const csrs = (await plane.requests()).filter(
      (request) => request.user === user && request.resource === 'certificatesigningrequests',
    );
    assert.deepEqual(csrs[0] && [csrs[0].verb, csrs[0].code], ['create', 201]);
    assert.match(csrs[0]?.userAgent ?? '', /^kubelet\//);
  });
});
