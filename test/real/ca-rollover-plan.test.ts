import assert from 'node:assert/strict';
import { copyFile, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { after, before, describe, it } from 'node:test';
import {
  controlPlaneAnnotationKey,
  formatControlPlaneAnnotation,
} from '../../src/core/control-plane-annotation.ts';
import { shortFingerprint } from '../../src/core/trust.ts';
import { version } from '../../src/core/version.ts';
import { readAuthorities } from '../../src/kube/authorities.ts';
import { annotateNode } from '../../src/kube/node-annotation.ts';
import type { KubeClient } from '../../src/kube/rest-client.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { Tree } from '../../src/sys/tree.ts';
import { readRolloverNode } from '../../src/trust/control-plane/node-files.ts';
import type { AnyNodeStepName } from '../../src/trust/control-plane/node-step.ts';
import { planNodeStep } from '../../src/trust/control-plane/node-step.ts';
import type { StepPlan, StepRequest } from '../../src/trust/control-plane/step-plan.ts';
import { planRolloverStep } from '../../src/trust/control-plane/steps/rollover-step.ts';
import { planRolloverUndo } from '../../src/trust/control-plane/steps/rollover-undo.ts';
import type { ClusterTask } from '../../src/trust/control-plane/task.ts';
import { clientFor } from '../kube/support/kubeconfig-client.ts';
import { runWithClock } from '../cli/in-process.ts';
import { authorityOf } from '../pki/renewal/openssl-authority.ts';
import type { KubeadmTree } from '../pki/renewal/renewal-tree.ts';
import { copyOf, sharedTree } from '../pki/renewal/renewal-tree.ts';
import { createClusterCa } from '../support/cluster-pki.ts';
import { ControlPlaneObjects } from '../support/control-plane-objects.ts';
import { DiscoveryPlane } from '../support/discovery-plane.ts';
import type { Ended } from '../support/doctor.ts';
import { hastened } from '../support/hastened-clock.ts';
import { scaled } from '../support/machine-speed.ts';
import { adminLeaf, kubeconfig, keyPairUser } from '../support/real-components.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';
import {
  walk,
  writeManifests,
  writeNextAuthority,
  writeStep,
} from '../trust/control-plane/rollover-tree.ts';

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
  ...steps: readonly AnyNodeStepName[]
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

async function plan(node: KubeadmTree, step: AnyNodeStepName): Promise<StepPlan> {
  return planRolloverStep(step, requestOf(node), options);
}

function clusterTasks({ tasks }: Partial<StepPlan> & Pick<StepPlan, 'tasks'>): string[] {
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

const clients = '/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication';

/** As an API server that trusts this CA does. API servers remove none. */
async function publishForClients(pem: string, key = 'client-ca-file'): Promise<void> {
  const { admin } = discovery.plane;
  const { data } = (await admin.must({ method: 'GET', path: clients })) as {
    readonly data: Readonly<Record<string, string>>;
  };
  const body = { data: { [key]: `${data[key] ?? ''}${pem}` } };
  await admin.must({ method: 'PATCH', path: clients, body });
}

/** The node trusts the CA that the cluster publishes. */
async function trustPublished({ certificates }: KubeadmTree): Promise<void> {
  await writeFile(join(certificates, 'ca.crt'), discovery.plane.caPem);
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

  it('keeps the CAs of clients for absent nodes until the next finish', async (context) => {
    const node = await nodeAfter(context, 'trust', 'switch');
    await setOther(node, 'finish');
    const keeping = { ...options, keepsAbsentNodes: true };
    const kept = await planRolloverStep('finish', requestOf(node), keeping);
    assert.deepEqual(clusterTasks(kept), [
      'kube-public/cluster-info',
      kubeadmConfig,
      kubeadmConfig,
    ]);
    assert.match(kept.notes.join(), /API servers still accept certificates from the old CA/);
    const set = kept.tasks.findLast(({ name }) => name === kubeadmConfig);
    assert.ok(set?.kind === 'cluster');
    assert.match(set.content, /^kube-apiserver with --client-ca-file=.*ca-clients\.crt$/);
    await set.run(signal);
    const request = requestOf(node);
    const found = await readRolloverNode(request);
    assert.ok(found);
    await writeStep(
      await planNodeStep('finish', { ...request, node: found, keepsAbsentNodes: true }),
    );
    const ended = await plan(node, 'finish');
    assert.deepEqual(
      ended.gates.map(({ id }) => id),
      ['G5', 'G6', 'G7', 'G8'],
    );
    assert.deepEqual(clusterTasks(ended), [
      'kube-public/cluster-info',
      kubeadmConfig,
      kubeadmConfig,
      'kube-system/extension-apiserver-authentication',
    ]);
    const removed = ended.tasks.find(({ name }) => name === kubeadmConfig);
    assert.ok(removed?.kind === 'cluster');
    assert.match(removed.content, /^kube-apiserver without --client-ca-file=/);
    await removed.run(signal);
    assert.equal(clusterTasks(await plan(node, 'finish')).length, 3);
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
    await trustPublished(node);
    const oldPem = tree.authorities.ca.certificate.toString();
    await publishForClients(oldPem);
    const { server, caPem } = discovery.plane;
    await discovery.publish({ server, caPem: `${oldPem}${caPem}` });
    const left = await plan(node, 'finish');
    assert.deepEqual(left.refusals, []);
    assert.deepEqual(clusterTasks(left), [
      'kube-public/cluster-info',
      kubeadmConfig,
      'kube-system/extension-apiserver-authentication',
    ]);
    assert.ok(left.tasks.every((task) => task.kind === 'cluster' && !task.isDone));
    for (const name of clusterTasks(left)) await taskOf(left, name).run(signal);
    assert.ok((await discovery.content()).includes(Buffer.from(caPem).toString('base64')));
    assert.deepEqual(clusterTasks(await plan(node, 'finish')), [kubeadmConfig]);
    assert.equal(taskOf(await plan(node, 'finish'), kubeadmConfig).isDone, true);
  });

  for (const step of ['finish', 'abort'] as const) {
    it(`refuses ${step} on a node that was off until the others had the new CA`, async (context) => {
      const node = await copyOf(context, tree);
      await writeManifests(node);
      await setOther(node, 'finish');
      const { tasks, refusals } = await plan(node, step);
      assert.deepEqual(
        clusterTasks({ tasks: tasks.filter(({ name }) => name !== annotation) }),
        [],
      );
      assert.match(
        refusals[0]?.message ?? '',
        /^kube-root-ca\.crt has the CA .*, which this node lacks$/,
      );
      assert.match(
        refusals[0]?.remedy ?? '',
        /nodecertd ca-rollover plan --return NODE; it prints/,
      );
    });
  }
});

/** The Node cp2 reports the issuer of its certificate, and the number of CAs in its file. */
async function reportProxy(issuer: string, count: number): Promise<void> {
  const [found] = readAuthorities(Buffer.from(issuer)).authorities;
  assert.ok(found !== undefined);
  const value = formatControlPlaneAnnotation({
    authorities: [],
    leaves: {},
    startedAt: {},
    reportedAt: Date.now(),
    frontProxyClient: shortFingerprint(found.fingerprint),
    frontProxyAuthorities: count,
  });
  await annotateNode(client, { name: 'cp2', key: controlPlaneAnnotationKey, value }, signal);
}

async function finishProxy(node: KubeadmTree): Promise<StepPlan> {
  return planRolloverStep('finish', { ...requestOf(node), ca: 'front-proxy' }, options);
}

function pending({ tasks }: StepPlan): string[] {
  return tasks.flatMap((task) => (task.kind === 'cluster' && !task.isDone ? [task.name] : []));
}

describe('finish of the CA front-proxy on a node without files of the rollover', { skip }, () => {
  it('deletes the ConfigMap if the last node was removed, and not before', async (context) => {
    const node = await copyOf(context, tree);
    await writeManifests(node);
    const own = await readFile(join(node.certificates, 'front-proxy-ca.crt'), 'utf8');
    const former = authorityOf({ subject: '/CN=front-proxy-ca' }).certificate.toString();
    await publishForClients(`${former}${own}`, 'requestheader-client-ca-file');

    await reportProxy(own, 2);
    const early = await finishProxy(node);
    assert.deepEqual([pending(early), early.refusals], [[], []]);
    const command = 'nodecertd ca-rollover apply finish --ca front-proxy # on cp2';
    assert.deepEqual(early.commands, [command]);

    await reportProxy(former, 1);
    const off = await finishProxy(node);
    assert.deepEqual(pending(off), []);
    assert.match(off.refusals[0]?.message ?? '', /^the node cp2 reports the CA /);

    await reportProxy(own, 1);
    const left = await finishProxy(node);
    assert.deepEqual(left.refusals, []);
    assert.deepEqual(pending(left), ['kube-system/extension-apiserver-authentication']);
    for (const name of pending(left)) await taskOf(left, name).run(signal);
    assert.deepEqual(pending(await finishProxy(node)), []);
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

describe('planRolloverStep() for abort', { skip }, () => {
  it('removes the new CA from the cluster on the last node after trust', async (context) => {
    const node = await nodeAfter(context, 'trust');
    await setOther(node, 'trust');
    const first = await plan(node, 'abort');
    assert.deepEqual(clusterTasks(first), ['kube-system/kubeadm-config', annotation]);
    await setOther(node, 'finish');
    const last = await plan(node, 'abort');
    assert.deepEqual(clusterTasks(last), [
      'kube-system/kubeadm-config',
      'kube-public/cluster-info',
      'kube-system/extension-apiserver-authentication',
      annotation,
    ]);
    // The new CA is reported until its files are gone.
    assert.deepEqual(
      last.tasks.slice(-2).map(({ name }) => name),
      ['files of the rollover', annotation],
    );
  });

  it('waits for an excepted node that is Ready, and not for one that is off', async (context) => {
    const node = await nodeAfter(context, 'trust');
    await setOther(node, 'trust');
    const exceptOther = async (): Promise<StepPlan> =>
      planRolloverStep('abort', requestOf(node), {
        ...options,
        confirmed: { ...options.confirmed, exceptNodes: new Set(['cp2']) },
      });
    const ready = await exceptOther();
    assert.deepEqual(clusterTasks(ready), [kubeadmConfig, annotation]);
    assert.match(ready.notes.join(), /^The Node cp2 is Ready, so run this step there too/);
    assert.deepEqual(ready.commands, [`${abortCommand} # on cp2`]);
    await objects.setNodeReady('cp2', 'False');
    try {
      const off = await exceptOther();
      assert.deepEqual(clusterTasks(off), [
        kubeadmConfig,
        'kube-public/cluster-info',
        'kube-system/extension-apiserver-authentication',
        annotation,
      ]);
      assert.match(off.notes[0] ?? '', /^The step does not wait for cp2, which keeps its files\./);
      assert.deepEqual(off.commands, [`${abortCommand} # on cp2, when it is back`]);
    } finally {
      await objects.setNodeReady('cp2', 'True');
    }
  });

  it('after switch, changes nothing but the report, and names the wait before the next call', async (context) => {
    const node = await nodeAfter(context, 'trust', 'switch');
    const { refusals, commands, gates, ...rest } = await plan(node, 'abort');
    assert.deepEqual([clusterTasks(rest), gates], [[annotation], []]);
    assert.ok(
      refusals.every(({ message }) => !/CA/.test(message)),
      JSON.stringify(refusals),
    );
    const wait =
      /^nodecertd ca-rollover wait --for droppable --timeout 3d --old [0-9a-f]{16} --new /;
    assert.ok(commands.some((command) => wait.test(command)));
  });

  it('needs the gates of the old CA on a node that has not switched', async (context) => {
    const node = await nodeAfter(context, 'trust');
    const { gates, refusals } = await planRolloverStep('abort', requestOf(node), {
      ...options,
      confirmed: { pods: true },
    });
    assert.deepEqual(
      gates.map(({ id }) => id),
      ['G5', 'G6', 'G7', 'G8'],
    );
    const clients = refusals.find(({ message }) => message.endsWith('from the new CA'));
    assert.match(clients?.message ?? '', /^G8 droppable: cannot see whether a client still uses/);
    assert.match(clients?.remedy ?? '', /--clients-ok$/);
    const silent = refusals.find(({ message }) => message.startsWith('G7 reissued: '));
    assert.deepEqual(silent?.objects, ['cp1', 'cp2']);
  });

  it('then needs the gates of the old CA, and names each CA as it is', async (context) => {
    const node = await nodeAfter(context, 'trust', 'switch', 'abort');
    const pem = await readFile(join(node.certificates, 'ca-next.crt'));
    const [next] = readAuthorities(pem).authorities;
    assert.ok(next !== undefined);
    const report = { authorities: [], leaves: {}, startedAt: {}, reportedAt: Date.now() };
    const value = formatControlPlaneAnnotation({
      ...report,
      signer: shortFingerprint(next.fingerprint),
    });
    await annotateNode(client, { name: 'cp2', key: controlPlaneAnnotationKey, value }, signal);
    const { gates, refusals } = await plan(node, 'abort');
    assert.deepEqual(
      gates.map(({ id }) => id),
      ['G5', 'G6', 'G7', 'G8'],
    );
    const signing = refusals.filter(({ message }) => message.startsWith('G5 signer: '));
    assert.match(signing[0]?.message ?? '', /on cp2 has the new CA$/);
  });

  it('refuses a node that has switched alone after another one has finished', async (context) => {
    const node = await nodeAfter(context, 'trust', 'switch');
    const { certificates } = node;
    await copyFile(join(certificates, 'ca-next.crt'), join(certificates, 'ca.crt'));
    const { tasks, refusals } = await plan(node, 'abort');
    assert.deepEqual(
      tasks.filter(({ kind }) => kind === 'files'),
      [],
    );
    assert.match(refusals[0]?.remedy ?? '', /apply create --ca kubernetes --import DIR$/);
  });

  it('refuses a node whose files do not show the new CA', async (context) => {
    const node = await nodeAfter(context, 'trust');
    await rm(join(node.certificates, 'ca-next.crt'));
    const { refusals } = await plan(node, 'abort');
    assert.match(refusals[0]?.message ?? '', /ca\.crt has several CAs/);
  });

  it('changes no file of a node without a rollover', async (context) => {
    const node = await copyOf(context, tree);
    await writeManifests(node);
    await trustPublished(node);
    const { tasks, refusals, notes } = await plan(node, 'abort');
    assert.ok(tasks.every(({ kind }) => kind === 'cluster'));
    assert.deepEqual([refusals, notes], [[], ['This node has no files of a CA rollover.']]);
  });
});

const abortCommand = 'nodecertd ca-rollover apply abort --ca kubernetes';
const annotation = 'annotation nodecertd.io/control-plane-trust of the Node cp1';

describe('nodecertd ca-rollover', { skip }, () => {
  it('names the files if kube-apiserver rejects the administrator after a restore', async (context) => {
    const node = await nodeAfter(context, 'trust', 'switch');
    const { certificates, kubernetes } = node;
    await copyFile(join(certificates, 'ca-previous.crt'), join(certificates, 'ca.crt'));
    const { plane } = discovery;
    const unknown = await (await createClusterCa()).issue(adminLeaf);
    const file = join(kubernetes, 'rejected.conf');
    await writeFile(
      file,
      kubeconfig({ server: plane.server, caPem: plane.caPem, user: keyPairUser(unknown) }),
    );
    const run = (...args: readonly string[]): Promise<Ended> => {
      const places = ['--kubeconfig', file, '--kubernetes-dir', kubernetes];
      return runWithClock(
        systemClock,
        'ca-rollover',
        ...args,
        ...places,
        '--cert-dir',
        certificates,
      );
    };
    const remedy = `cp ${certificates}/ca-bundle.crt ${certificates}/ca.crt; then run: nodecertd ca-rollover apply switch --ca kubernetes`;
    for (const command of ['status', 'verify']) {
      const { code, stdout, stderr } = await run(command);
      assert.deepEqual([code, stdout.includes(remedy)], [4, true], stdout + stderr);
    }
    const { code, stderr } = await run('apply', 'switch', '--ca', 'kubernetes', '--dry-run');
    assert.deepEqual([code, stderr.includes(remedy)], [1, true], stderr);
  });
});
