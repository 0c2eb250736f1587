import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { authorityName } from '../../src/core/trust.ts';
import type { TrustAuthority } from '../../src/core/trust.ts';
import { readAuthorities } from '../../src/kube/authorities.ts';
import type { KubeClient } from '../../src/kube/rest-client.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { clientAuthoritiesTask } from '../../src/trust/control-plane/client-authorities-task.ts';
import type { Flags, SectionFlags } from '../../src/trust/control-plane/cluster-tasks.ts';
import {
  clusterInfoTask,
  removeFlagsTask,
  setFlagsTask,
  uploadedCertificatesTask,
} from '../../src/trust/control-plane/cluster-tasks.ts';
import type { ClusterTask } from '../../src/trust/control-plane/task.ts';
import { base64 } from '../kube/support/api-server.ts';
import { clientFor } from '../kube/support/kubeconfig-client.ts';
import { kubeadmProgram, skipWithoutKubeadm } from '../support/kubeadm.ts';
import { kubernetesVersion } from '../support/programs.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';
import { bundleOf, RolloverPlane } from '../support/rollover-plane.ts';

/** The objects that a CA rollover changes, in a cluster with the objects of kubeadm. */

const run = promisify(execFile);
const skip = skipWithoutRealControlPlane() || skipWithoutKubeadm();
const kubeSystem = '/api/v1/namespaces/kube-system';
const signal = AbortSignal.timeout(120_000);

const configuration = `apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: ${kubernetesVersion()}
controllerManager:
  extraArgs:
  - name: bind-address
    value: 0.0.0.0
`;

let rollover: RolloverPlane;
let client: KubeClient;
let token: string;
before(async () => {
  if (skip !== false) return;
  rollover = await RolloverPlane.start();
  token = await rollover.discovery.createSignedToken();
  client = await clientFor(await rollover.plane.adminKubeconfig());
});
after(async () => {
  if (skip !== false) return;
  await client.close();
  await rollover[Symbol.asyncDispose]();
});

function authorities(): { readonly old: TrustAuthority; readonly next: TrustAuthority } {
  const { oldCa, newCa } = rollover;
  const [old, next] = readAuthorities(Buffer.from(bundleOf(oldCa, newCa))).authorities;
  assert.ok(old !== undefined && next !== undefined);
  return { old, next };
}

/** Runs the task. Made again, it has to find nothing to do. */
async function runOnce(make: () => Promise<ClusterTask>): Promise<void> {
  const task = await make();
  assert.equal(task.isDone, false, task.name);
  await task.run(signal);
  assert.equal((await make()).isDone, true, task.name);
}

async function only(tasks: Promise<readonly ClusterTask[]>): Promise<ClusterTask> {
  const [task, ...others] = await tasks;
  assert.ok(task !== undefined && others.length === 0);
  return task;
}

async function dataOf(name: string): Promise<Readonly<Record<string, string>>> {
  const path = `${kubeSystem}/configmaps/${name}`;
  const body = await rollover.plane.admin.must({ method: 'GET', path });
  return (body as { readonly data: Readonly<Record<string, string>> }).data;
}

/** The signature that follows a change of the content. */
async function resigned(earlier: string): Promise<string> {
  for (;;) {
    const now = await rollover.discovery.untilSigned(token);
    if (now !== earlier) return now;
    await systemClock.sleep(100, signal);
  }
}

function withoutOld(): Promise<ClusterTask> {
  return clientAuthoritiesTask(
    { client, clock: systemClock, signal },
    { ...authorities(), clients: 'kubernetes' },
  );
}

describe('clusterInfoTask()', { skip }, () => {
  it('adds the new CA, removes the old one later, restores it, and keeps the rest', async () => {
    const { discovery, oldCa, newCa } = rollover;
    const both = authorities();
    const before = await discovery.content();
    const signed = await discovery.untilSigned(token);
    const task = async (trust: 'both' | 'next'): Promise<ClusterTask> =>
      only(clusterInfoTask({ client, signal }, both, trust));
    const { content } = await task('both');
    assert.equal(content, `${authorityName(both.old)}, ${authorityName(both.next)}`);
    await runOnce(() => task('both'));
    const encodedOld = base64(oldCa.certificatePem);
    const expected = before.replace(encodedOld, base64(bundleOf(oldCa, newCa)));
    assert.equal(await discovery.content(), expected);
    assert.notEqual(await resigned(signed), signed);
    await runOnce(() => task('next'));
    assert.equal(
      await discovery.content(),
      before.replace(encodedOld, base64(newCa.certificatePem)),
    );
    await runOnce(() => task('both'));
    assert.equal(await discovery.content(), expected, 'as before the step finish');
    await runOnce(() => task('next'));
  });
});

const flags = new Map([
  ['cluster-signing-cert-file', '/etc/kubernetes/pki/ca-signing.crt'],
  ['root-ca-file', '/etc/kubernetes/pki/ca-bundle.crt'],
]);

const inSection = (flags: Flags): SectionFlags => ({ section: 'controllerManager', flags });

describe('setFlagsTask()', { skip }, () => {
  it('does nothing in a cluster without kubeadm-config', async () => {
    assert.deepEqual(await setFlagsTask({ client, signal }, inSection(flags)), []);
    assert.deepEqual(await removeFlagsTask({ client, signal }, inSection(flags)), []);
  });

  it('adds flags that kubeadm reads, and removal restores the text', async () => {
    const { directory } = rollover.plane;
    const config = join(directory, 'kubeadm.yaml');
    await writeFile(config, configuration);
    const kubeconfig = join(directory, 'admin.conf');
    const kubeadm = async (...args: readonly string[]): Promise<string> =>
      (await run(kubeadmProgram(), [...args, '--kubeconfig', kubeconfig])).stdout;
    await kubeadm('init', 'phase', 'upload-config', 'kubeadm', '--config', config);
    const { ClusterConfiguration: before = '' } = await dataOf('kubeadm-config');
    await runOnce(() => only(setFlagsTask({ client, signal }, inSection(flags))));
    const { ClusterConfiguration: after = '' } = await dataOf('kubeadm-config');
    const lines = [...flags].map(([name, value]) => `  - name: ${name}\n    value: ${value}\n`);
    const own = '  - name: bind-address\n    value: 0.0.0.0\n';
    assert.equal(after, before.replace(own, own + lines.join('')));
    const file = join(directory, 'cluster.yaml');
    await writeFile(file, after);
    await run(kubeadmProgram(), ['config', 'validate', '--config', file]);
    await runOnce(() => only(removeFlagsTask({ client, signal }, inSection(flags))));
    assert.equal((await dataOf('kubeadm-config'))['ClusterConfiguration'], before);
  });

  it('leaves values of the administrator when it removes flags', async () => {
    const other = new Map([['root-ca-file', '/etc/other.crt']]);
    await (await only(setFlagsTask({ client, signal }, inSection(other)))).run(signal);
    assert.equal((await only(removeFlagsTask({ client, signal }, inSection(flags)))).isDone, true);
    await runOnce(() => only(removeFlagsTask({ client, signal }, inSection(other))));
  });
});

describe('uploadedCertificatesTask()', { skip }, () => {
  it('deletes the Secret with CA files, and does nothing without it', async () => {
    const { admin } = rollover.plane;
    assert.deepEqual(await uploadedCertificatesTask({ client, signal }), []);
    const body = { metadata: { name: 'kubeadm-certs' }, stringData: { 'ca.key': 'encrypted' } };
    await admin.must({ method: 'POST', path: `${kubeSystem}/secrets`, body });
    await (await only(uploadedCertificatesTask({ client, signal }))).run(signal);
    assert.deepEqual(await uploadedCertificatesTask({ client, signal }), []);
  });
});

describe('clientAuthoritiesTask()', { skip }, () => {
  it('fails while an API server has the old CA', async () => {
    const { oldCa, newCa } = rollover;
    await rollover.acceptClientsOf(oldCa, newCa);
    await assert.rejects((await withoutOld()).run(signal), {
      code: 'API_CONFLICT',
      message: /^an API server has added the old CA .* to kube-system\/extension-apiserver-auth/,
    });
  });

  it('removes the old CA, which API servers leave in the ConfigMap', async () => {
    const { newCa, oldCa } = rollover;
    await rollover.identifyAdmin(newCa, oldCa, newCa);
    await client.close();
    client = await clientFor(await rollover.plane.adminKubeconfig());
    await rollover.acceptClientsOf(newCa);
    await runOnce(withoutOld);
    const { 'client-ca-file': left } = await dataOf('extension-apiserver-authentication');
    assert.equal(left, newCa.certificatePem);
  });
});
