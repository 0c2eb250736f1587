import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { dialKubelets } from '../../../src/trust/cluster/kubelet-ports.ts';
import type { ClusterNode } from '../../../src/trust/cluster/state.ts';
import { readAuthorities } from '../../../src/kube/authorities.ts';
import { ApiServer } from '../../kube/support/api-server.ts';
import type { Authority } from '../../kube/support/certificates.ts';
import { makeAuthority } from '../../kube/support/certificates.ts';
import { never } from '../../kube/support/requests.ts';
import { freePort } from '../../support/free-ports.ts';

async function kubeletOf(authority: Authority): Promise<ApiServer> {
  return ApiServer.start(() => undefined, { authority });
}

function nodeAt(name: string, port: number, addresses = ['127.0.0.1']): ClusterNode {
  return { name, isReady: true, isControlPlane: false, addresses, kubeletPort: port };
}

describe('dialKubelets()', () => {
  it('names the issuer at each port, and no self-made certificate', async () => {
    const [old, next, own] = await Promise.all(
      ['kubernetes', 'kubernetes', 'worker-3-ca@1795000000'].map((name) => makeAuthority(name)),
    );
    assert.ok(old !== undefined && next !== undefined && own !== undefined);
    await using first = await kubeletOf(old);
    await using second = await kubeletOf(next);
    await using third = await kubeletOf(own);
    const [oldCa, nextCa] = [old, next].map(({ pem }) => readAuthorities(Buffer.from(pem)));
    assert.ok(oldCa?.authorities[0] !== undefined && nextCa?.authorities[0] !== undefined);
    const closed = await freePort();
    const found = await dialKubelets({
      nodes: [
        nodeAt('worker-1', first.port),
        nodeAt('worker-2', second.port),
        nodeAt('worker-3', third.port),
        nodeAt('worker-4', closed),
        nodeAt('worker-5', 10_250, []),
      ],
      authorities: { old: oldCa.authorities[0], next: nextCa.authorities[0] },
      signal: never,
    });
    assert.deepEqual(
      found.toSorted((a, b) => a.place.localeCompare(b.place)),
      [
        { place: 'port 10250 of worker-5', issuer: 'unreadable' },
        { place: `port ${closed} of worker-4`, issuer: 'unreadable' },
        { place: `port ${first.port} of worker-1`, issuer: 'old' },
        { place: `port ${second.port} of worker-2`, issuer: 'next' },
      ].toSorted((a, b) => a.place.localeCompare(b.place)),
    );
  });
});
