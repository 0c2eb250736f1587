import assert from 'node:assert/strict';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, describe, it } from 'node:test';
import { second } from '../../src/core/instant.ts';
import { kubeadmCertificates } from '../../src/pki/layout.ts';
import type { Ended } from '../support/doctor.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import { skipWithoutKubeadmCluster, startKubeadmCluster } from '../support/kubeadm-cluster.ts';
import { scaled } from '../support/machine-speed.ts';
import type { Container } from '../support/nspawn.ts';

/** `certs renew` and `certs rollback` on a control-plane node that kubeadm made. */

const skip = skipWithoutKubeadmCluster();

let cluster: KubeadmCluster | undefined;
before(async () => {
  if (skip !== false) return;
  cluster = await startKubeadmCluster({ controlPlanes: 1, workers: 0 });
  const { container } = cluster.node('control-plane-1');
  // The program as `make build` leaves it, with its own Node.
  const built = join(import.meta.dirname, '../../dist');
  await cp(join(built, 'lib'), container.path('/opt/nodecertd/lib'), { recursive: true });
  await cp(join(built, 'nodecertd'), container.path('/opt/nodecertd/nodecertd'));
});
after(async () => cluster?.[Symbol.asyncDispose]());

interface Renewal {
  readonly state: string;
  readonly certificates: readonly {
    readonly name: string;
    readonly state: string;
    readonly served?: { readonly kind: string; readonly endpoints: readonly string[] };
  }[];
  readonly warnings: readonly unknown[];
  /** Those of nodecertd, and those of the administrator. */
  readonly restarts: readonly { readonly component: string }[];
  readonly openRestarts: readonly { readonly component: string; readonly remedy: string }[];
}

function machine(): Container {
  assert.ok(cluster !== undefined);
  return cluster.node('control-plane-1').container;
}

function certs(...args: readonly string[]): Promise<Ended> {
  return machine().run('/opt/nodecertd/nodecertd', 'certs', ...args);
}

/** The number of starts after the first one, by component. */
async function restarts(): Promise<Record<string, number>> {
  const { containers } = JSON.parse(await machine().must('crictl', 'ps', '-o', 'json')) as {
    containers: { metadata: { name: string; attempt?: number } }[];
  };
  return Object.fromEntries(
    containers.map(({ metadata }) => [metadata.name, metadata.attempt ?? 0]),
  );
}

async function containerIds(): Promise<Record<string, string>> {
  const { containers } = JSON.parse(await machine().must('crictl', 'ps', '-o', 'json')) as {
    containers: { id: string; metadata: { name: string } }[];
  };
  return Object.fromEntries(containers.map(({ id, metadata }) => [metadata.name, id]));
}

/** Waits until the component has renewed its Lease after this moment, which needs its certificate. */
async function untilLeading(component: string, since: number): Promise<void> {
  const deadline = Date.now() + scaled(90 * second);
  const path = '{.spec.renewTime}';
  for (;;) {
    const args = ['-n', 'kube-system', 'get', 'lease', component, '-o', `jsonpath=${path}`];
    const { stdout } = await machine().run('kubectl', ...args);
    if (Date.parse(stdout) > since) return;
    if (Date.now() > deadline) throw new Error(`${component} renewed its Lease at ${stdout}`);
    await delay(second / 2);
  }
}

describe('certs renew on a node of kubeadm', { skip }, () => {
  it('--restart never renews everything, and names two components to restart', async () => {
    const ended = await certs('renew', '--all', '--yes', '--restart', 'never', '-o', 'json');
    assert.deepEqual([ended.code, ended.stderr], [3, '']);
    const done = JSON.parse(ended.stdout) as Renewal;
    assert.deepEqual([done.state, done.warnings], ['done', []]);
    assert.equal(done.certificates.length, kubeadmCertificates.length);
    assert.ok(done.certificates.every(({ state }) => state === 'renewed'));
    assert.deepEqual(
      done.certificates.flatMap(({ served }) => (served === undefined ? [] : [served])),
      ['etcd-client', 'etcd-peer', 'kube-apiserver'].map((name) => ({
        kind: 'current',
        endpoints: [name],
      })),
    );
    assert.deepEqual(
      done.openRestarts.map(({ component }) => component),
      ['kube-controller-manager', 'kube-scheduler'],
    );
    for (const { component, remedy } of done.openRestarts) {
      // The command of the remedy, as an administrator would paste it.
      await machine().must('sh', '-c', remedy.slice(remedy.indexOf('crictl')));
      // The container is gone, so only its successor can renew the Lease.
      await untilLeading(component, Date.now());
    }
    assert.deepEqual(await restarts(), {
      etcd: 0,
      'kube-apiserver': 0,
      'kube-controller-manager': 1,
      'kube-scheduler': 1,
    });
    assert.equal((await certs('verify')).code, 0);
    assert.equal((await certs('check-expiration')).code, 0);
    assert.equal((await certs('renew', '--due', '--yes')).code, 0);
    await machine().must('kubeadm', 'certs', 'check-expiration');
  });

  it('rolls back, and the endpoints serve the previous certificates again', async () => {
    const before = await machine().read('/etc/kubernetes/pki/apiserver.crt');
    const ended = await certs('rollback', '--yes', '-o', 'json');
    assert.deepEqual([ended.code, ended.stderr], [0, '']);
    assert.notEqual(await machine().read('/etc/kubernetes/pki/apiserver.crt'), before);
    const deadline = Date.now() + scaled(60 * second);
    while ((await certs('verify')).code !== 0) {
      if (Date.now() > deadline) throw new Error((await certs('verify')).stdout);
      await delay(second / 2);
    }
    await machine().must('kubectl', 'get', '--raw', '/readyz');
  });

  it('restarts the two components itself, and no other', async () => {
    const before = await containerIds();
    const ended = await certs('renew', '--all', '--yes', '-o', 'json');
    const { openRestarts, restarts: own, warnings } = JSON.parse(ended.stdout) as Renewal;
    assert.deepEqual([ended.code, ended.stderr, openRestarts, warnings], [0, '', [], []]);
    assert.deepEqual(
      own.map(({ component }) => component),
      ['kube-controller-manager', 'kube-scheduler'],
    );
    const since = Date.now();
    const now = await containerIds();
    for (const [component, id] of Object.entries(before)) {
      const isRestarted = own.some((restarted) => restarted.component === component);
      assert.equal(now[component] !== id, isRestarted, component);
    }
    for (const { component } of own) await untilLeading(component, since);
    assert.equal((await certs('verify')).code, 0);
  });
});
