import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { ControlPlaneAnnotation } from '../../src/core/control-plane-annotation.ts';
import {
  controlPlaneAnnotationKey,
  formatControlPlaneAnnotation,
} from '../../src/core/control-plane-annotation.ts';
import { hour } from '../../src/core/instant.ts';
import { shortFingerprint } from '../../src/core/trust.ts';
import { version } from '../../src/core/version.ts';
import { readAuthorities } from '../../src/kube/authorities.ts';
import { annotateNode } from '../../src/kube/node-annotation.ts';
import type { KubeClient } from '../../src/kube/rest-client.ts';
import { systemClock } from '../../src/sys/clock.ts';
import type { Gate } from '../../src/trust/cluster/gate.ts';
import type { ControlPlaneNode } from '../../src/trust/control-plane/control-plane-nodes.ts';
import {
  readControlPlaneNodes,
  withOwn,
} from '../../src/trust/control-plane/control-plane-nodes.ts';
import { readMirrorPods } from '../../src/trust/control-plane/mirror-pods.ts';
import { earlyLeader, nodesBehind } from '../../src/trust/control-plane/node-order.ts';
import type { StepQuestion } from '../../src/trust/control-plane/permission.ts';
import { obstaclesTo } from '../../src/trust/control-plane/permission.ts';
import { clientFor } from '../kube/support/kubeconfig-client.ts';
import { hastened } from '../support/hastened-clock.ts';
import { ControlPlaneObjects } from '../support/control-plane-objects.ts';
import type { RealControlPlane } from '../support/real-control-plane.ts';
import {
  skipWithoutRealControlPlane,
  startRealControlPlane,
} from '../support/real-control-plane.ts';
import { bundleOf } from '../support/rollover-plane.ts';
import { createClusterCa } from '../support/cluster-pki.ts';
import { fakeProc } from '../sys/fake-proc.ts';

/** What a real API server says about the control-plane nodes, and whether a step may begin. */

const skip = skipWithoutRealControlPlane();
const signal = AbortSignal.timeout(120_000);
const process = { mounts: 'mnt:[1]', parent: 1, cgroup: '' };

let plane: RealControlPlane;
let objects: ControlPlaneObjects;
let client: KubeClient;
let folder: string;
before(async () => {
  if (skip !== false) return;
  folder = await mkdtemp(join(tmpdir(), 'nodecertd-permission-'));
  await mkdir(join(folder, 'proc'));
  await mkdir(join(folder, 'pki/etcd'), { recursive: true });
  const kubelet = { ...process, cmdline: '/usr/bin/kubelet\0' };
  await fakeProc(join(folder, 'proc'), { self: { ...process, cmdline: '' }, '7': kubelet });
  plane = await startRealControlPlane({ signingSeconds: 3_600 });
  client = await clientFor(await plane.adminKubeconfig());
  objects = new ControlPlaneObjects(plane);
  for (const node of ['cp1', 'cp2']) await objects.createNode(node, usual);
});
after(async () => {
  if (skip !== false) return;
  await client.close();
  await plane[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const flags = new Map([
  ['cluster-signing-cert-file', '/etc/kubernetes/pki/ca-signing.crt'],
  ['root-ca-file', '/etc/kubernetes/pki/ca-bundle.crt'],
]);
const usual = new Map([...flags.keys()].map((name) => [name, '/etc/kubernetes/pki/ca.crt']));

/** As the agent of cp2 does. */
async function report(changes: Partial<ControlPlaneAnnotation>): Promise<void> {
  const value = formatControlPlaneAnnotation({
    authorities: [],
    leaves: {},
    startedAt: {},
    reportedAt: systemClock.now(),
    ...changes,
  });
  await annotateNode(client, { name: 'cp2', key: controlPlaneAnnotationKey, value }, signal);
}

async function othersOf(nodeName: string): Promise<ControlPlaneNode[]> {
  const nodes = await readControlPlaneNodes(client, signal);
  return nodes.filter(({ name }) => name !== nodeName);
}

const controlPlane = {
  isLeader: false,
  managerFlags: { section: 'controllerManager', flags },
  serverFlags: {
    section: 'apiServer',
    flags: new Map([['client-ca-file', '/etc/kubernetes/pki/ca-clients.crt']]),
  },
  keepsAbsentNodes: false,
} as const;

async function behind(step: 'trust' | 'finish', nodeName: string): Promise<string[]> {
  return nodesBehind(step, {
    others: await othersOf(nodeName),
    pods: await readMirrorPods(client, signal),
    ...controlPlane,
  });
}

describe('nodesBehind()', { skip }, () => {
  it('names the other nodes whose kube-controller-manager lacks the flags', async () => {
    assert.deepEqual(await behind('trust', 'cp1'), ['cp2']);
    assert.deepEqual(await behind('finish', 'cp1'), []);
    await objects.changeFlags('cp1', flags);
    assert.deepEqual(await behind('trust', 'cp2'), []);
    assert.deepEqual(await behind('finish', 'cp2'), ['cp1']);
    await objects.changeFlags('cp1', usual);
  });
});

async function note(nodeName: string): Promise<string | undefined> {
  return earlyLeader('trust', {
    others: await othersOf(nodeName),
    pods: await readMirrorPods(client, signal),
    ...controlPlane,
    isLeader: nodeName === 'cp2',
  });
}

describe('earlyLeader()', { skip }, () => {
  it('names the nodes that come before the leader, and none after they are done', async () => {
    assert.match((await note('cp2')) ?? '', /run the step on cp1 first/);
    assert.equal(await note('cp1'), undefined);
    await objects.changeFlags('cp1', flags);
    assert.equal(await note('cp2'), undefined);
    await objects.changeFlags('cp1', usual);
  });
});

describe('obstaclesTo()', { skip }, () => {
  const gates: readonly Gate[] = [
    { id: 'G1', state: 'open', reasons: [] },
    { id: 'G3', state: 'waiting', reasons: [{ state: 'waiting', message: '1 node is offline' }] },
    { id: 'G8', state: 'harmful', reasons: [{ state: 'harmful', message: 'a webhook fails' }] },
  ];

  async function obstacles(changes: Partial<StepQuestion> = {}): Promise<string[]> {
    const machine = { hostName: 'cp1', addresses: new Set(['127.0.0.1']) };
    const found = await obstaclesTo({
      ca: 'kubernetes',
      step: 'trust',
      client,
      directories: { kubernetes: folder, certificates: join(folder, 'pki') },
      ...machine,
      others: withOwn(await readControlPlaneNodes(client, signal), machine).others,
      components: [],
      gates,
      isRepair: false,
      version,
      clock: hastened(60),
      signal,
      onWait: () => undefined,
      proc: join(folder, 'proc'),
      ...changes,
    });
    return found.map(({ message }) => message);
  }

  it('allows a step on a healthy control plane', async () => {
    assert.deepEqual(await obstacles(), []);
  });

  it('names each gate that the step needs and that is closed', async () => {
    assert.deepEqual(await obstacles({ step: 'switch' }), ['G3 nodes: 1 node is offline']);
    assert.deepEqual(await obstacles({ step: 'finish' }), ['G8 droppable: a webhook fails']);
  });

  it('refuses while the CA of etcd or of the front proxy is in a rollover', async () => {
    const [first, second] = [await createClusterCa(), await createClusterCa()];
    const path = join(folder, 'pki/etcd/ca.crt');
    await writeFile(path, bundleOf(first, second));
    const message = `${path} has 2 CAs, so another CA rollover is in progress`;
    assert.deepEqual(await obstacles(), [message]);
    await writeFile(path, bundleOf(first));
    assert.deepEqual(await obstacles(), []);
  });

  it('refuses while another node reports a different new CA or another rollover', async () => {
    const [own, other] = readAuthorities(
      Buffer.from(bundleOf(await createClusterCa(), await createClusterCa())),
    ).authorities;
    assert.ok(own !== undefined && other !== undefined);
    const [held, reported] = [own, other].map(({ fingerprint }) => shortFingerprint(fingerprint));
    // Only a node with another address reports as another node.
    await objects.setAddress('cp2', '127.9.9.9');
    const reasons = async (): Promise<string[]> =>
      (await obstacles({ next: own })).filter((message) => message.includes('node cp2'));
    await report({ next: reported ?? '' });
    assert.deepEqual(await reasons(), [
      `the node cp2 has the new CA ${reported}, and this node has ${held}`,
    ]);
    await report({ next: held ?? '', frontProxyAuthorities: 2 });
    assert.deepEqual(await reasons(), [
      'front-proxy-ca.crt of the node cp2 has 2 CAs, so another CA rollover is in progress',
    ]);
    await report({ next: reported ?? '', reportedAt: systemClock.now() - 26 * hour });
    assert.deepEqual(await reasons(), []);
    await objects.setAddress('cp2', '127.0.0.1');
  });

  it('names the kubelet, a Node and a pod that do not work after a minute', async () => {
    const proc = join(folder, 'no-kubelet');
    await mkdir(proc);
    await fakeProc(proc, { self: { ...process, cmdline: '' } });
    await objects.setNodeReady('cp2', 'False');
    await objects.setManagerReady('cp2', 'False');
    const waits: string[] = [];
    const onWait = (what: string): void => void waits.push(what);
    assert.deepEqual(await obstacles({ proc, onWait }), [
      'the Node cp2 is not Ready',
      'the pod kube-system/kube-controller-manager-cp2 is not Ready',
      'the kubelet of this node is not running, so no component can restart',
    ]);
    assert.equal(waits[0], 'the Node cp2 is not Ready');
    // A step that repairs kube-controller-manager cannot wait for it.
    await objects.setNodeReady('cp2', 'True');
    assert.deepEqual(await obstacles({ isRepair: true }), []);
    await objects.setManagerReady('cp2', 'True');
  });

  it('waits until a component is healthy', async () => {
    await objects.setManagerReady('cp1', 'False');
    const onWait = (): void => void objects.setManagerReady('cp1', 'True');
    assert.deepEqual(await obstacles({ onWait }), []);
  });

  it('names an API server on another node that does not answer', async () => {
    await objects.setAddress('cp2', '127.9.9.9');
    const [found = '', ...others] = await obstacles();
    assert.match(found, /^cp2 is unhealthy: .*127\.9\.9\.9/);
    assert.deepEqual(others, []);
  });

  it('ignores an excepted node that is off', async () => {
    await objects.setAddress('cp2', '127.9.9.9');
    await objects.setNodeReady('cp2', 'False');
    await objects.setManagerReady('cp2', 'False');
    assert.deepEqual(await obstacles({ exceptNodes: new Set(['cp2']) }), []);
    assert.equal((await obstacles()).length, 3);
  });
});
