import assert from 'node:assert/strict';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, describe, it } from 'node:test';
import { second } from '../../src/core/instant.ts';
import { kubeadmCertificates } from '../../src/pki/layout.ts';
import type { Ended } from '../support/doctor.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import {
  skipWithoutKubeadmCluster,
  startKubeadmCluster,
  staticPods,
} from '../support/kubeadm-cluster.ts';
import { scaled } from '../support/machine-speed.ts';
import { runningContainers, watchContainers } from '../support/node-containers.ts';
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
    readonly reason?: string;
    readonly served?: { readonly kind: string; readonly endpoints: readonly string[] };
  }[];
  readonly warnings: readonly { readonly what: string }[];
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
  const running = await runningContainers(machine());
  return Object.fromEntries(running.map(({ component, attempt }) => [component, attempt]));
}

/** Every file below /etc/kubernetes with its inode, size and time of change, without locks. */
async function files(): Promise<string> {
  const list = "find /etc/kubernetes -not -name '.nodecertd*' -printf '%p %i %s %T@\\n' | sort";
  return machine().must('sh', '-c', list);
}

function manifestOf(component: string): string {
  return `/etc/kubernetes/manifests/${component}.yaml`;
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

  it('restarts each of the two components once, and no other, even after touch', async () => {
    // The kubelet sees these changes before those of the renewal.
    await machine().must('touch', manifestOf('etcd'), manifestOf('kube-apiserver'));
    let since = 0;
    let own: string[] = [];
    const lists = await watchContainers(machine(), async () => {
      const ended = await certs('renew', '--all', '--yes', '-o', 'json');
      since = Date.now();
      const renewal = JSON.parse(ended.stdout) as Renewal;
      const { openRestarts, warnings } = renewal;
      assert.deepEqual([ended.code, ended.stderr, openRestarts, warnings], [0, '', [], []]);
      own = renewal.restarts.map(({ component }) => component);
    });
    assert.deepEqual(own, ['kube-controller-manager', 'kube-scheduler']);
    const known = new Set(lists[0]?.map(({ id }) => id));
    const added = new Map(
      lists.flat().flatMap((one) => (known.has(one.id) ? [] : [[one.id, one] as const])),
    );
    // One container in one new pod for each restart.
    assert.deepEqual(
      [...added.values()].map(({ component, attempt }) => `${component} ${attempt}`).toSorted(),
      own.map((component) => `${component} 0`),
    );
    for (const list of lists) {
      const running = list.filter(({ isRunning }) => isRunning).map(({ component }) => component);
      assert.equal(new Set(running).size, running.length, running.join(' '));
    }
    const running = (await runningContainers(machine())).map(({ component }) => component);
    assert.deepEqual(running.toSorted(), staticPods);
    for (const component of own) await untilLeading(component, since);
    assert.equal((await certs('verify')).code, 0);
  });

  it('refuses a restart while the kubelet is down, before it writes anything', async () => {
    const before = await files();
    await machine().must('systemctl', 'stop', 'kubelet');
    const { code, stderr } = await certs('renew', 'scheduler.conf', '--yes');
    await machine().must('systemctl', 'start', 'kubelet');
    assert.equal(code, 1);
    assert.match(stderr, /kube-scheduler has to be restarted, but the kubelet is not running/);
    assert.equal(await files(), before);
  });

  it('restores manifest and kubeconfig if the new pod fails; a second run names the first', async () => {
    const [manifest, kubeconfig] = [manifestOf('kube-scheduler'), '/etc/kubernetes/scheduler.conf'];
    const sound = await machine().read(kubeconfig);
    // The running scheduler has read the file, and a new one cannot start with it.
    const malformed = sound.replace('apiVersion: v1\n', 'apiVersion: none/v9\n');
    assert.notEqual(malformed, sound);
    await machine().write(kubeconfig, malformed, 0o600);
    const previous = await machine().read(manifest);
    const first = certs('renew', 'scheduler.conf', '--yes', '-o', 'json');
    await machine().until('a changed manifest', async () => {
      return (await machine().read(manifest)) !== previous || undefined;
    });
    const second = await certs('renew', 'apiserver', '--yes');
    assert.equal(second.code, 1);
    assert.match(second.stderr, /another nodecertd command \(pid \d+\) is changing files/);
    const { code, stdout } = await first;
    assert.equal(code, 1);
    const [failed] = (JSON.parse(stdout) as Renewal).certificates;
    assert.equal(failed?.state, 'failed');
    assert.match(failed.reason ?? '', /^kube-scheduler was not healthy 2m after its restart: /);
    assert.match(failed.reason ?? '', /the previous files of scheduler\.conf are in place$/);
    assert.equal(await machine().read(manifest), previous);
    assert.equal(await machine().read(kubeconfig), malformed);
    await machine().write(kubeconfig, sound, 0o600);
    await untilLeading('kube-scheduler', Date.now());
  });

  it('renews while kube-apiserver does not answer, and says that it was not checked', async () => {
    await machine().must('sh', '-c', 'kill -STOP $(pidof kube-apiserver)');
    const ended = await certs('renew', 'admin.conf', '--yes', '-o', 'json');
    await machine().must('sh', '-c', 'kill -CONT $(pidof kube-apiserver)');
    const { certificates, warnings } = JSON.parse(ended.stdout) as Renewal;
    assert.deepEqual([ended.code, certificates[0]?.state, warnings.length], [3, 'renewed', 1]);
    assert.match(warnings[0]?.what ?? '', /^the control plane was not checked after the renewal: /);
    await machine().must('kubectl', 'get', '--raw', '/readyz');
  });
});
