import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { day, minute, second } from '../../src/core/instant.ts';
import type { UnattendedRenewal } from '../../src/core/unattended-renewal.ts';
import { fileOf, keyFileOf, kubeadmCertificates } from '../../src/pki/layout.ts';
import { renew } from '../../src/pki/renewal/renewal.ts';
import { requestFor } from '../pki/renewal/renewal-tree.ts';
import type { Ended } from '../support/doctor.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import { skipWithoutKubeadmCluster, startKubeadmCluster } from '../support/kubeadm-cluster.ts';
import { apiName } from '../support/kubeadm-configuration.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import { scaled } from '../support/machine-speed.ts';
import { skip as skipBecause } from '../support/programs.ts';

/** `certs renew --unattended` on a cluster of kubeadm with three control planes, whose pods are real. */

const dist = join(import.meta.dirname, '../../dist');
const skip =
  skipWithoutKubeadmCluster() ||
  (existsSync(join(dist, 'nodecertd')) ? false : skipBecause('certs on a cluster: make build'));

let cluster: KubeadmCluster;
before(async () => {
  if (skip !== false) return;
  const mounts = { '/opt/nodecertd': dist };
  cluster = await startKubeadmCluster({ controlPlanes: 3, workers: 0, mounts });
  await Promise.all(cluster.controlPlanes.map(synchronize));
});
after(async () => {
  if (skip === false) await cluster[Symbol.asyncDispose]();
});

const command = ['/opt/nodecertd/nodecertd', 'certs', 'renew', '--unattended', '-o', 'json'];
/** Renewed certificates are not due again during the test. */
const flags = ['--rotation', '10%-11%', '--lifetime', '365d'];

function node(number: 1 | 2 | 3): KubeadmNode {
  return cluster.node(`control-plane-${number}`);
}

function documentOf({ stdout, stderr }: Ended): UnattendedRenewal {
  assert.equal(stderr, '');
  return JSON.parse(stdout) as UnattendedRenewal;
}

async function unattended({ container }: KubeadmNode): Promise<UnattendedRenewal> {
  return documentOf(await container.run('env', searchPath, ...command, ...flags));
}

/** No time service reaches the clock of this machine, so a script takes the place of timedatectl. */
const searchPath = 'PATH=/opt/synchronized:/usr/sbin:/usr/bin';
async function synchronize({ container }: KubeadmNode): Promise<void> {
  await container.must('mkdir', '-p', '/opt/synchronized');
  const script = '#!/bin/sh\necho NTPSynchronized=yes\n';
  await container.write('/opt/synchronized/timedatectl', script, 0o755);
}

/**
 * Replaces a certificate by one that ends at this time, and that began 5 minutes ago, or with its
 * CA. It is past 11% of its lifetime at once, and far from its last five minutes.
 */
async function shorten(
  { name: nodeName, container }: KubeadmNode,
  name: string,
  endsIn = 30 * minute,
): Promise<void> {
  // A copy, because links below /proc/PID/root lead to the root of this machine.
  const kubernetes = await mkdtemp(join(tmpdir(), 'nodecertd-short-'));
  const directories = { kubernetes, certificates: join(kubernetes, 'pki') };
  const entry = kubeadmCertificates.find((one) => one.name === name);
  assert.ok(entry !== undefined);
  try {
    await cp(container.path('/etc/kubernetes'), kubernetes, { recursive: true });
    const { result } = await renew(requestFor(directories), {
      selection: [name],
      lifetime: { kind: 'duration', ms: endsIn },
      hostName: nodeName,
      endpoints: [],
      describe: () => ({}),
    });
    assert.equal(result.renewed.length, 1);
    const file = fileOf(entry, directories);
    for (const path of entry.kind === 'pair' ? [keyFileOf(file), file] : [file]) {
      const target = container.path(join('/etc/kubernetes', relative(kubernetes, path)));
      await writeFile(target, await readFile(path));
      // Otherwise the lifetime would begin now.
      await utimes(target, 0, 0);
    }
  } finally {
    await rm(kubernetes, { recursive: true });
  }
}

const lease = ['--namespace=kube-system', 'lease', 'nodecertd-pki-renewal'];

async function leaseSpec(): Promise<Readonly<Record<string, unknown>>> {
  const { container } = node(1);
  const { code, stdout } = await container.run('kubectl', 'get', ...lease, '-o', 'json');
  return code === 0 ? (JSON.parse(stdout) as { spec: Record<string, unknown> }).spec : {};
}

/** As if the last renewal had finished 11 minutes earlier. */
async function passPause(): Promise<void> {
  const { renewTime } = await leaseSpec();
  const earlier = new Date(Date.parse(String(renewTime)) - 11 * minute).toISOString();
  const patch = JSON.stringify({ spec: { renewTime: earlier.replace('Z', '000Z') } });
  await cluster.kubectl('patch', ...lease, '--type=merge', `--patch=${patch}`);
}

/** The containers of a component on a node that run or have ended. */
async function starts({ container }: KubeadmNode, component: string): Promise<number> {
  const ids = await container.must('crictl', 'ps', '--all', '--quiet', '--name', component);
  return ids.split('\n').filter(Boolean).length;
}

async function leaseHolder(): Promise<unknown> {
  return (await leaseSpec())['holderIdentity'];
}

/**
 * Starts a renewal, and waits until it holds the Lease. Starts it again if it found another node
 * unhealthy, which etcd may be for a moment after the tests above.
 */
async function startRenewal({ container }: KubeadmNode): Promise<{ readonly end: Promise<Ended> }> {
  const deadline = Date.now() + scaled(minute);
  for (;;) {
    const ended: Ended[] = [];
    const end = container.run('env', searchPath, ...command, ...flags);
    void end.then((last) => ended.push(last));
    while (ended.length === 0) {
      if ((await leaseHolder()) !== undefined) return { end };
      await delay(second / 10);
    }
    const { stdout, stderr } = await end;
    const isTemporary = /"reason": ".* unhealthy/.test(stdout) && Date.now() < deadline;
    if (!isTemporary) throw new Error(`the renewal never held the Lease: ${stdout}${stderr}`);
  }
}

async function signalRenewal(signal: 'INT' | 'KILL'): Promise<void> {
  await node(2).container.must('pkill', '--signal', signal, '--full', 'renew --unattended');
}

async function signalEtcd(signal: 'STOP' | 'CONT'): Promise<void> {
  await node(3).container.must('pkill', '--signal', signal, '--exact', 'etcd');
}

describe('certs renew --unattended on a cluster', { skip }, () => {
  it('refuses if timedatectl shows that the clock is not synchronized', async () => {
    const { container } = node(1);
    const shown = await container.run('timedatectl', 'show', '--property=NTPSynchronized');
    const isRefused = shown.stdout.includes('NTPSynchronized=no');
    const { outcome, code } = documentOf(await container.run(...command, ...flags));
    const expected = isRefused ? ['refused', 'CLOCK_UNTRUSTED'] : ['not-due', undefined];
    assert.deepEqual([outcome, code], expected);
  });

  it('renews on one node at a time, with ten minutes between two restarts', async () => {
    await shorten(node(1), 'controller-manager.conf');
    await shorten(node(1), 'scheduler.conf');
    await shorten(node(2), 'front-proxy-client');
    await shorten(node(3), 'front-proxy-client');
    const first = await startRenewal(node(1));
    const before = await starts(node(1), 'kube-scheduler');
    const [second, third] = await Promise.all([unattended(node(2)), unattended(node(3))]);
    for (const { outcome, reason, retryAfterSeconds } of [second, third]) {
      assert.deepEqual([outcome, retryAfterSeconds], ['waiting', 60]);
      assert.match(reason ?? '', /^control-plane-1 is changing its files, and holds the Lease/);
    }
    const done = documentOf(await first.end);
    assert.equal(done.outcome, 'renewed', JSON.stringify(done));
    assert.deepEqual(
      done.restarted.map(({ component }) => component),
      ['kube-controller-manager'],
    );
    assert.deepEqual([done.nextDue?.name, done.retryAfterSeconds], ['scheduler.conf', 600]);

    for (const waiting of await Promise.all(cluster.controlPlanes.map(unattended))) {
      assert.equal(waiting.outcome, 'waiting');
      assert.match(waiting.reason ?? '', /finished less than 10m ago/);
      assert.ok((waiting.retryAfterSeconds ?? 0) > 500);
    }
    assert.equal(await starts(node(1), 'kube-scheduler'), before);

    await passPause();
    const both = await Promise.all([unattended(node(2)), unattended(node(3))]);
    assert.deepEqual(both.map(({ outcome }) => outcome).toSorted(), ['renewed', 'waiting']);
    await passPause();
    const late = both[0].outcome === 'waiting' ? node(2) : node(3);
    assert.equal((await unattended(late)).outcome, 'renewed');
    assert.equal((await unattended(late)).outcome, 'not-due');
    await passPause();
    const last = await unattended(node(1));
    assert.deepEqual(
      last.restarted.map(({ component }) => component),
      ['kube-scheduler'],
    );
  });

  it('waits while an etcd member is down', async () => {
    await passPause();
    await shorten(node(1), 'front-proxy-client');
    await signalEtcd('STOP');
    await using _ = { [Symbol.asyncDispose]: () => signalEtcd('CONT') };
    // The API server tests etcd once a second, for two seconds (apiserver, storagebackend/factory/etcd3.go).
    const server = `--server=https://${node(3).address}:6443`;
    await node(1).container.until('a failing health check', async () => {
      const { stderr } = await node(1).container.run('kubectl', server, 'get', '--raw', '/readyz');
      return stderr.includes('[-]etcd failed') || undefined;
    });
    const reason = await node(1).container.until('the other members', async () => {
      const found = await unattended(node(1));
      assert.equal(found.outcome, 'waiting');
      // Until they have elected a leader, the API server of this node may be unhealthy.
      return found.reason?.startsWith('control-plane-3 is unhealthy') ? found.reason : undefined;
    });
    assert.match(reason, /failing checks: etcd/);
    assert.deepEqual(await leaseHolder(), undefined);
  });

  it('restores the files and releases the Lease on Ctrl-C', async () => {
    await passPause();
    await shorten(node(2), 'controller-manager.conf');
    const file = '/etc/kubernetes/controller-manager.conf';
    const before = await node(2).container.read(file);
    const interrupted = await startRenewal(node(2));
    await signalRenewal('INT');
    const { outcome, code, renewed } = documentOf(await interrupted.end);
    assert.deepEqual([outcome, code, renewed], ['failed', 'ABORTED', []]);
    assert.equal(await node(2).container.read(file), before);
    assert.equal(await leaseHolder(), undefined);
    await passPause();
  });

  it('takes over from a killed holder after 60 s', async () => {
    const killed = await startRenewal(node(2));
    await signalRenewal('KILL');
    assert.notEqual((await killed.end).code, 0);
    const start = performance.now();
    const next = await unattended(node(1));
    assert.equal(next.outcome, 'renewed', JSON.stringify(next));
    assert.ok(performance.now() - start >= minute);
    await passPause();
    const completed = await unattended(node(2));
    assert.equal(completed.outcome, 'renewed', JSON.stringify(completed));
  });

  it('renews without the Lease if its own certificate has expired', async () => {
    const { container, address } = node(3);
    // Its own API server, because the name stands for all of them.
    const admin = '/etc/kubernetes/admin.conf';
    await container.must('sed', '-i', `s/${apiName}:6443/${address}:6443/`, admin);
    // By its hash, this node begins 159 s after the expiry.
    await shorten(node(3), 'apiserver', -4 * minute);
    await container.until('the expired certificate', async () =>
      (await container.run('kubectl', 'get', '--raw', '/readyz')).code === 0 ? undefined : true,
    );
    const done = await unattended(node(3));
    assert.deepEqual([done.outcome, done.withoutLease], ['renewed', 'api-unreachable']);
    assert.deepEqual(
      done.renewed.map(({ name }) => name),
      ['apiserver'],
    );
    assert.ok(Date.parse(done.renewed[0]?.notAfter ?? '') > Date.now() + 300 * day);
    await container.must('kubectl', 'get', '--raw', '/readyz');
  });
});
