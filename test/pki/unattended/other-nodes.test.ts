import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { describe, it } from 'node:test';
import { hour, minute } from '../../../src/core/instant.ts';
import { unhealthyServers } from '../../../src/pki/unattended/other-nodes.ts';
import { systemClock } from '../../../src/sys/clock.ts';
import { accessTo, ApiServer, servingPair } from '../../kube/support/api-server.ts';
import { makeAuthority } from '../../kube/support/certificates.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

const { signal } = new AbortController();
const authority = await makeAuthority('kubernetes');
/** As kubeadm does, with the name of the Service. The address need not be in it. */
const pair = await authority.issue({
  commonName: 'kube-apiserver',
  usages: ['server auth'],
  dnsNames: ['kubernetes', 'kubernetes.default.svc'],
});

async function problemsOf(handler: Handler, certificate = pair): Promise<string[]> {
  await using own = await ApiServer.start(handler, { authority });
  await using other = await ApiServer.start(handler, { authority, pair: certificate });
  using access = await accessTo(own);
  const { port } = other;
  const places = [{ name: 'cp2', address: '127.0.0.1', port }];
  return await unhealthyServers(places, { access, version: '0', clock: systemClock, signal });
}

const ready: Handler = (_, response) => response.end('ok');

describe('unhealthyServers()', () => {
  it('finds nothing if /readyz answers 200', async () => {
    assert.deepEqual(await problemsOf(ready), []);
  });

  it('names the failed checks of /readyz', async () => {
    const [problem] = await problemsOf((_, response) => {
      response.writeHead(500);
      response.end('[+]ping ok\n[-]etcd failed: reason withheld\n[-]poststarthook/x failed: y\n');
    });
    assert.match(
      problem ?? '',
      /^cp2 is unhealthy: https:\/\/127\.0\.0\.1:\d+\/readyz has failing checks: etcd, poststarthook\/x$/,
    );
  });

  for (const [offset, words] of [
    [hour, '59m 59s ahead of|1h ahead of'],
    [-hour, '1h (?:0s )?behind'],
  ] as const) {
    it(`finds a clock that is ${offset / minute} minutes ahead`, async () => {
      const [problem] = await problemsOf((_, response) => {
        response.setHeader('date', new Date(Date.now() + offset).toUTCString());
        response.end('ok');
      });
      assert.match(problem ?? '', new RegExp(`its clock is (?:${words}) the clock of this node$`));
    });
  }

  it('rejects a certificate without the name of the Service', async () => {
    const [problem] = await problemsOf(ready, await servingPair(authority));
    assert.match(problem ?? '', /^cp2 is unhealthy: get \/readyz/);
  });

  it('rejects a certificate of another CA', async () => {
    const other = await makeAuthority('kubernetes');
    const foreign = await other.issue({
      commonName: 'kube-apiserver',
      usages: ['server auth'],
      dnsNames: ['kubernetes.default.svc'],
    });
    assert.equal((await problemsOf(ready, foreign)).length, 1);
  });

  it('finds a Node without an address, and a server that is down', async () => {
    const down = await ApiServer.start(ready, { authority });
    using access = await accessTo(down);
    await down[Symbol.asyncDispose]();
    const places = [
      { name: 'cp2', port: 6443 },
      { name: 'cp3', address: '127.0.0.1', port: Number(new URL(access.cluster.server).port) },
    ];
    const found = await unhealthyServers(places, {
      access,
      version: '0',
      clock: systemClock,
      signal,
    });
    assert.equal(found[0], 'cp2 is unhealthy: its Node has no InternalIP');
    assert.match(found[1] ?? '', /^cp3 is unhealthy: .*ECONNREFUSED/);
  });
});
