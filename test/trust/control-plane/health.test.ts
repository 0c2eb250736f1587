import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Component } from '../../../src/pki/components/component.ts';
import { systemClock } from '../../../src/sys/clock.ts';
import { healthProblems, notReadyNode } from '../../../src/trust/control-plane/health.ts';
import { ApiServer, clientOf, sendJson, sendStatus } from '../../kube/support/api-server.ts';
import { temporaryDirectory } from '../../store/pairs.ts';
import { fakeProc } from '../../sys/fake-proc.ts';

const { signal } = new AbortController();
const addresses = [{ type: 'InternalIP', address: '10.0.0.5' }];

/** cp1 has lost its member of etcd, so its API server and its kubelet do not work. */
const node = {
  metadata: { name: 'cp1' },
  status: { addresses, conditions: [{ type: 'Ready', status: 'Unknown' }] },
};

function podOf(component: string, nodeName: string): object {
  const annotations = { 'kubernetes.io/config.mirror': 'x' };
  const conditions = [{ type: 'Ready', status: 'False' }];
  return {
    metadata: { name: `${component}-${nodeName}`, annotations, labels: { component } },
    spec: { nodeName, containers: [{ command: [component] }] },
    status: { conditions },
  };
}

const pods = [podOf('etcd', 'cp1'), podOf('kube-apiserver', 'cp1'), podOf('etcd', 'cp2')];

const apiServer: Component = {
  name: 'kube-apiserver',
  source: { kind: 'process', pid: 1 },
  flags: [
    { name: 'secure-port', value: '1' },
    { name: 'etcd-servers', value: 'https://10.255.255.1:1' },
  ],
  sharesNetwork: true,
  hostPath: (path) => path,
};

describe('healthProblems()', () => {
  for (const [ca, isRepair, count] of [
    ['etcd', true, 1],
    ['etcd', false, 6],
    ['kubernetes', true, 6],
  ] as const) {
    it(`of a ${isRepair ? 'repair' : 'step'} of ${ca} has ${count} on a node without etcd`, async (t) => {
      await using server = await ApiServer.start((request, response) => {
        const { pathname } = new URL(request.url ?? '', 'https://server');
        if (pathname === '/api/v1/nodes') return sendJson(response, { items: [node] });
        if (pathname.endsWith('/pods')) return sendJson(response, { metadata: {}, items: pods });
        sendStatus(response, 404, { reason: 'NotFound' });
      });
      await using client = await clientOf(server);
      const folder = await temporaryDirectory(t);
      const proc = join(folder, 'proc');
      await mkdir(proc);
      const process = { mounts: 'mnt:[1]', parent: 1, cgroup: '' };
      const kubelet = { ...process, cmdline: '/usr/bin/kubelet\0' };
      await fakeProc(proc, { self: { ...process, cmdline: '' }, '7': kubelet });
      const problems = await healthProblems({
        ca,
        client,
        directories: { kubernetes: folder, certificates: join(folder, 'pki') },
        hostName: 'cp1',
        addresses: new Set(['10.0.0.5']),
        components: [apiServer],
        isRepair,
        version: '0.0.0',
        clock: systemClock,
        signal,
        proc,
      });
      const messages = problems.map(({ message }) => message);
      assert.equal(messages.length, count, messages.join('\n'));
      assert.ok(messages.includes('the pod kube-system/etcd-cp2 is not Ready'));
    });
  }
});

function remedyFor(name: string, ca: 'kubernetes' | 'etcd'): string {
  return notReadyNode(name, { ca, hostName: 'cp1' }).remedy ?? '';
}

describe('notReadyNode()', () => {
  it('names the option that ignores another node', () => {
    assert.match(remedyFor('cp3', 'kubernetes'), /node cp3; .* ignore it: --except cp3$/);
  });

  it('does not name it for this node, and for a member of etcd', () => {
    assert.match(remedyFor('cp1', 'kubernetes'), /node cp1$/);
    assert.match(remedyFor('cp3', 'etcd'), /node cp3$/);
  });
});
