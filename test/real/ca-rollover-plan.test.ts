import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { after, before, describe, it } from 'node:test';
import { version } from '../../src/core/version.ts';
import type { KubeClient } from '../../src/kube/rest-client.ts';
import { Tree } from '../../src/sys/tree.ts';
import type { NodeStepName } from '../../src/trust/control-plane/node-step.ts';
import type { StepPlan, StepRequest } from '../../src/trust/control-plane/step-plan.ts';
import { planRolloverStep } from '../../src/trust/control-plane/steps/rollover-step.ts';
import { planRolloverUndo } from '../../src/trust/control-plane/steps/rollover-undo.ts';
import type { ClusterTask } from '../../src/trust/control-plane/task.ts';
import { clientFor } from '../kube/support/kubeconfig-client.ts';
import type { KubeadmTree } from '../pki/renewal/renewal-tree.ts';
import { copyOf, sharedTree } from '../pki/renewal/renewal-tree.ts';
import { ControlPlaneObjects } from '../support/control-plane-objects.ts';
import { DiscoveryPlane } from '../support/discovery-plane.ts';
import { hastened } from '../support/hastened-clock.ts';
import { scaled } from '../support/machine-speed.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';
import { walk, writeManifests, writeNextAuthority } from '../trust/control-plane/rollover-tree.ts';

/** What a step of a CA rollover does on a node, in a cluster with two control-plane nodes. */

const skip = skipWithoutRealControlPlane();
const signal = AbortSignal.timeout(180_000);
const tree = sharedTree();

let discovery: DiscoveryPlane;
let objects: ControlPlaneObjects;
let client: KubeClient;
before(async () => {
  if (skip !== false) return;
  discovery = await DiscoveryPlane.start();
  const { plane } = discovery;
  objects = new ControlPlaneObjects(plane);
  for (const name of ['cp1', 'cp2']) await objects.createNode(name, new Map());
  await objects.setAddress('cp2', '127.9.9.9');
  await plane.admin.must({
    method: 'POST',
    path: '/api/v1/namespaces/kube-system/configmaps',
    body: {
      metadata: { name: 'kubeadm-config' },
      data: { ClusterConfiguration: 'apiVersion: kubeadm.k8s.io/v1beta4\ncontrollerManager: {}\n' },
    },
  });
  client = await clientFor(await plane.adminKubeconfig());
});
after(async () => {
  if (skip !== false) return;
  await client.close();
  await discovery[Symbol.asyncDispose]();
});

/** A node after the step `create`, and after others. */
async function nodeAfter(
  context: TestContext,
  ...steps: readonly NodeStepName[]
): Promise<KubeadmTree> {
  const node = await copyOf(context, tree);
  await writeManifests(node);
  await writeNextAuthority(node, node.authorities.ca);
  await walk(node, ...steps);
  return node;
}

function requestOf({ kubernetes, certificates }: KubeadmTree): StepRequest {
  return {
    ca: 'kubernetes',
    tree: new Tree('/'),
    directories: { kubernetes, certificates },
    client,
    hostName: 'cp1',
    addresses: new Set(['127.0.0.1']),
    version,
    // It waits for unhealthy components. Requests have to answer in 3 seconds, or more on a slow machine.
    clock: hastened(10_000 / scaled(1_000)),
    signal,
  };
}

const options = {
  keyFiles: [],
  confirmed: { pods: true, clients: true },
  dial: false,
  auditLogs: [],
  onWait: () => undefined,
};

async function plan(node: KubeadmTree, step: NodeStepName): Promise<StepPlan> {
  return planRolloverStep(step, requestOf(node), options);
}

function clusterTasks({ tasks }: StepPlan): string[] {
  return tasks.flatMap((task) => (task.kind === 'cluster' ? [task.name] : []));
}

const kubeadmConfig = 'kube-system/kubeadm-config';

function taskOf({ tasks }: StepPlan, name: string): ClusterTask {
  const task = tasks.find((one) => one.name === name);
  assert.ok(task?.kind === 'cluster', name);
  return task;
}

/** With the flags that kube-controller-manager of the other node has after this step. */
async function setOther({ certificates }: KubeadmTree, step: 'trust' | 'finish'): Promise<void> {
  const name = (usual: string, rollover: string): string =>
    join(certificates, step === 'trust' ? rollover : usual);
  const flags = new Map([
    ['cluster-signing-cert-file', name('ca.crt', 'ca-signing.crt')],
    ['cluster-signing-key-file', name('ca.key', 'ca-signing.key')],
    ['root-ca-file', name('ca.crt', 'ca-bundle.crt')],
  ]);
  await objects.changeFlags('cp2', flags);
}

describe('planRolloverStep()', { skip }, () => {
  it('names the command that creates the new CA on a node without it', async (context) => {
    const node = await copyOf(context, tree);
    await writeManifests(node);
    const { refusals, tasks } = await plan(node, 'trust');
    assert.deepEqual(tasks, []);
    assert.match(refusals[0]?.message ?? '', /ca-next\.crt does not exist/);
    assert.match(refusals[0]?.remedy ?? '', /nodecertd ca-rollover apply create --ca kubernetes/);
  });

  it('trust changes cluster-info on the first node, and kubeadm-config on the last', async (context) => {
    const node = await nodeAfter(context);
    await setOther(node, 'finish');
    const first = await plan(node, 'trust');
    assert.deepEqual(clusterTasks(first), ['kube-public/cluster-info']);
    assert.deepEqual(first.commands, [
      'nodecertd ca-rollover apply trust --ca kubernetes # on cp2',
    ]);
    await setOther(node, 'trust');
    const last = await plan(node, 'trust');
    const objectNames = ['kube-public/cluster-info', 'kube-system/kubeadm-config'];
    assert.deepEqual(clusterTasks(last), objectNames);
    assert.deepEqual(last.commands, ['nodecertd ca-rollover wait --for union']);
  });

  it('refuses switch while gates are closed, and after a step that is not complete', async (context) => {
    const { refusals } = await plan(await nodeAfter(context), 'switch');
    assert.match(refusals[0]?.message ?? '', /^the step trust is not complete on this node/);
    const trusted = await plan(await nodeAfter(context, 'trust'), 'switch');
    assert.deepEqual(
      trusted.gates.map(({ id }) => id),
      ['G1', 'G2', 'G3', 'G4'],
    );
    assert.ok(trusted.refusals.some(({ message }) => message.startsWith('G1 servers: ')));
  });

  it('deletes the CAs of clients before the files on the last node of finish', async (context) => {
    const node = await nodeAfter(context, 'trust', 'switch');
    await setOther(node, 'trust');
    assert.deepEqual(clusterTasks(await plan(node, 'finish')), ['kube-public/cluster-info']);
    await setOther(node, 'finish');
    const last = await plan(node, 'finish');
    assert.deepEqual(clusterTasks(last), [
      'kube-public/cluster-info',
      'kube-system/kubeadm-config',
      'kube-system/extension-apiserver-authentication',
    ]);
    assert.equal(last.tasks.at(-1)?.name, 'files of the rollover');
    assert.ok(last.refusals.some(({ message }) => message.startsWith('G6 serving: ')));
  });

  it('leaves the cluster to the other nodes on a node that is done', async (context) => {
    const node = await nodeAfter(context, 'trust', 'switch', 'finish');
    await setOther(node, 'trust');
    const { tasks, refusals, notes, commands } = await plan(node, 'finish');
    assert.deepEqual([tasks, refusals], [[], []]);
    assert.deepEqual(notes, ['This node has no files of a CA rollover.']);
    assert.deepEqual(commands, ['nodecertd ca-rollover apply finish --ca kubernetes # on cp2']);
  });

  it('completes the cluster if the last node was removed before its finish', async (context) => {
    const node = await nodeAfter(context);
    await setOther(node, 'trust');
    await taskOf(await plan(node, 'trust'), kubeadmConfig).run(signal);
    await walk(node, 'trust', 'switch', 'finish');
    // Without the other node, no kube-controller-manager has the flags either.
    await setOther(node, 'finish');
    const left = await plan(node, 'finish');
    assert.deepEqual(clusterTasks(left), [
      'kube-public/cluster-info',
      kubeadmConfig,
      'kube-system/extension-apiserver-authentication',
    ]);
    assert.ok(left.tasks.every((task) => task.kind === 'cluster' && !task.isDone));
    await taskOf(left, kubeadmConfig).run(signal);
    assert.equal(taskOf(await plan(node, 'finish'), kubeadmConfig).isDone, true);
  });
});

describe('planRolloverUndo()', { skip }, () => {
  it('returns the flags in kubeadm-config when trust is undone', async (context) => {
    const node = await nodeAfter(context, 'trust');
    await setOther(node, 'trust');
    const { tasks, refusals } = await planRolloverUndo('trust', requestOf(node), options);
    assert.deepEqual(refusals, []);
    assert.deepEqual(
      tasks.map(({ name }) => name),
      ['kube-system/kubeadm-config'],
    );
  });

  it('refuses to undo trust after the new CA has issued a certificate', async (context) => {
    const node = await nodeAfter(context, 'trust', 'switch');
    const { refusals } = await planRolloverUndo('trust', requestOf(node), options);
    assert.match(refusals[0]?.message ?? '', /^the new CA has issued certificates already/);
  });
});
