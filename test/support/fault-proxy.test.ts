import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { day, hour } from '../../src/core/instant.ts';
import { Issuer } from '../fault/api/issuer.ts';
import { keyPairOf } from '../fault/api/proxied-node.ts';
import { ApiClient } from './api-client.ts';
import type { KeyPair } from './cluster-pki.ts';
import type { ControlPlane } from './control-plane.ts';
import { FaultProxy, verbIs } from './fault-proxy.ts';
import { startSandboxControlPlane } from './sandbox-control-plane.ts';

describe('FaultProxy', () => {
  let controlPlane: ControlPlane;
  let issuer: Issuer;
  let proxy: FaultProxy;
  const list = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
  const own = '/api/v1/nodes/worker';

  before(async () => {
    controlPlane = await startSandboxControlPlane({ signingSeconds: 600 });
    issuer = await Issuer.create();
    const { server, caPem } = controlPlane;
    proxy = await FaultProxy.start({
      server,
      caPem,
      admin: keyPairOf(await controlPlane.adminKubeconfig()),
      clientCas: [caPem, issuer.caPem],
      serving: await issuer.serving('known'),
    });
    await controlPlane.setNodeAddresses('worker', []);
  });
  after(async () => {
    await proxy[Symbol.asyncDispose]();
    await controlPlane[Symbol.asyncDispose]();
  });
  beforeEach(() => proxy.set(undefined));

  async function statusOf(path: string, pair?: KeyPair): Promise<number> {
    await using client = new ApiClient({ server: proxy.server, caPem: issuer.caPem, ...pair });
    return (await client.request({ method: 'GET', path })).status;
  }

  it('forwards a request as the node that the client certificate names', async () => {
    const node = await issuer.client('worker', hour);
    assert.equal(await statusOf(own, node), 200);
    assert.equal(await statusOf('/api/v1/nodes/other', node), 403);
    assert.equal((await controlPlane.requests()).at(-1)?.user, 'system:node:worker');
  });

  it('gives no client the rights of the administrator', async () => {
    // Anonymous users may not read CSRs.
    assert.equal(await statusOf(list), 403);
    assert.equal(await statusOf(own, await issuer.client('worker', 31 * day)), 401);
  });

  it('applies a fault to its verbs only, as often as wanted', async () => {
    const node = await issuer.client('worker', hour);
    proxy.set({
      meets: verbIs('get'),
      times: 2,
      serve: async ({ response }) => void response.writeHead(503).end(),
    });
    const codes: number[] = [];
    for (const path of [own, list, list, list]) codes.push(await statusOf(path, node));
    assert.deepEqual(codes, [200, 503, 503, 200]);
    assert.equal(proxy.met, 2);
  });

  it('takes the same port again', async () => {
    const node = await issuer.client('worker', hour);
    await proxy.leave();
    await assert.rejects(statusOf(own, node), /ECONNREFUSED/);
    await proxy.listen();
    assert.equal(await statusOf(own, node), 200);
  });
});
