import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { createClusterCa } from '../support/cluster-pki.ts';
import { clusterInfoText, DiscoveryPlane, idOf, pinOf } from '../support/discovery-plane.ts';
import { skipWithoutGoProgram } from '../support/go-program.ts';
import { KubeadmTwin } from '../support/kubeadm-twin.ts';
import { accessIn } from '../support/new-machine.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';

const skip = skipWithoutRealControlPlane() || skipWithoutGoProgram('kubeadm-discovery');

/** The reference of the discovery tests: kubeadm's own code on the real bootstrap signer. */
describe('DiscoveryPlane', { skip, timeout: 300_000 }, () => {
  let cluster: DiscoveryPlane;
  let kubeadm: KubeadmTwin;
  before(async () => {
    cluster = await DiscoveryPlane.start();
    kubeadm = new KubeadmTwin();
  });
  after(async () => {
    await kubeadm?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  });

  it('publishes cluster-info as kubeadm writes it', async () => {
    const { server, caPem } = cluster.plane;
    const both = caPem + (await createClusterCa()).certificatePem;
    for (const info of [
      { server, caPem },
      { server: 'https://10.0.0.1', caPem: both },
    ]) {
      assert.equal(clusterInfoText(info), await kubeadm.clusterInfo(info.server, info.caPem));
    }
    assert.equal(cluster.pin, await kubeadm.pinOf(caPem));
  });

  it('has tokens with which kubeadm discovers the cluster', async () => {
    const token = await cluster.createSignedToken();
    const { endpoint, pin } = cluster;
    const found = accessIn(await kubeadm.discover({ endpoint, token, pins: [pin] }));
    assert.deepEqual([found.server, found.token], [cluster.plane.server, token]);
  });

  it('gets the signature that kubeadm computes, also after a change', async () => {
    const token = await cluster.createSignedToken();
    await cluster.publish({ server: 'https://10.0.0.1:6443', caPem: cluster.plane.caPem });
    const signature = await cluster.untilSigned(token);
    const [id = '', secret = ''] = token.split('.');
    const content = await cluster.content();
    assert.match(content, /10\.0\.0\.1/);
    assert.equal(signature, await kubeadm.sign({ content, id, secret }));
    await cluster.publish();
  });

  it('signs for a token with that usage only, until it expires', async () => {
    const unsigned = await cluster.createToken({ usages: ['authentication'] });
    const signed = await cluster.createSignedToken({ usages: ['signing'] });
    const ids = Object.keys(await cluster.signatures());
    assert.deepEqual([ids.includes(idOf(signed)), ids.includes(idOf(unsigned))], [true, false]);
    const expired = await cluster.createExpiredToken(Date.now() + 2_000);
    assert.ok(!(idOf(expired) in (await cluster.signatures())));
  });

  it('can hide cluster-info from anonymous users, and leave it unsigned', async () => {
    const token = await cluster.createSignedToken();
    const { endpoint } = cluster;
    const request = { endpoint, token, pins: [pinOf(cluster.plane.caPem)], timeoutSeconds: 1 };
    await cluster.setPublic(false);
    await assert.rejects(kubeadm.discover(request), /is forbidden/);
    await cluster.setPublic(true);
    await cluster.plane.stopControllers();
    await cluster.publish();
    await assert.rejects(kubeadm.discover(request), /could not find a JWS signature/);
    await cluster.plane.startControllers();
    await cluster.untilSigned(token);
  });
});
