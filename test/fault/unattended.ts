import assert from 'node:assert/strict';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { stringify } from 'yaml';
import { describeError } from '../../src/core/errors.ts';
import { hour, minute, second } from '../../src/core/instant.ts';
import { kubeadmCertificates } from '../../src/pki/layout.ts';
import { startApiProber } from '../support/api-prober.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import { startKubeadmCluster } from '../support/kubeadm-cluster.ts';
import { scaled } from '../support/machine-speed.ts';
import type { Container } from '../support/nspawn.ts';
import type { FaultFamily, FaultOptions, FaultRow } from './family.ts';

/** The agent alone keeps short certificates of a real control plane alive. */
export const unattended: FaultFamily = {
  name: 'unattended',
  needs: ['kubeadm-cluster'],
  async *run(options) {
    if (options.thorough) yield await keepAlive(options);
  },
};

const lifetime = 10 * minute;
const duration = hour;
/** They are due after five minutes. */
const fewestRenewals = 10;
const service = 'nodecertd-unattended.service';
const program = '/opt/nodecertd/nodecertd';
const controllers = ['kube-controller-manager', 'kube-scheduler'];

const configuration = {
  apiVersion: 'nodecertd.io/v1alpha1',
  kind: 'AgentConfiguration',
  // The kubelet rotates it.
  certificates: [{ name: 'kubelet-client', profile: 'kubelet-client' }],
  pki: { enabled: true },
};

async function keepAlive({ progress, signal }: FaultOptions): Promise<FaultRow> {
  await using cluster = await startKubeadmCluster({
    controlPlanes: 1,
    workers: 0,
    configuration: { certificateValidityPeriod: `${lifetime / minute}m` },
    mounts: { '/opt/nodecertd': join(import.meta.dirname, '../../dist') },
  });
  const { container } = cluster.node('control-plane-1');
  await startAgent(container);
  using prober = await startApiProber(cluster);
  const watched = await watch(cluster, { container, progress, signal }).catch(
    async (error: unknown) => {
      const lines = (await container.logged(service))
        .slice(-10)
        .map((line) => JSON.stringify(line));
      throw new Error(`${describeError(error)}\nThe agent:\n${lines.join('\n')}`, { cause: error });
    },
  );
  const { failures, requests } = await prober.stop();
  assert.deepEqual(failures, [], `of ${requests} requests`);
  const { renewals, restarts } = await renewalsOf(container);
  for (const name of renewedNames) requireOften(name, renewals);
  for (const name of controllers) requireOften(name, restarts);
  return {
    fault: `certificates of ${lifetime / minute} minutes on a control plane, ${duration / minute} minutes unattended, ${requests} requests to the API server`,
    tried: [...renewals.values()].reduce((sum, count) => sum + count, 0),
    lost: 0,
    recovery: watched.longestPause / second,
    seen: [
      'pki_renewed',
      ...controllers.map((name) => `${name} restarted ${restarts.get(name)}x`),
      `at least ${Math.floor(watched.shortestRest)} s left`,
    ],
  };
}

const renewedNames = kubeadmCertificates.map(({ name }) => name);

function requireOften(name: string, counts: ReadonlyMap<string, number>): void {
  const count = counts.get(name) ?? 0;
  assert.ok(count >= fewestRenewals, `${name}: ${count} times`);
}

async function startAgent(container: Container): Promise<void> {
  const file = '/etc/nodecertd/config.yaml';
  await container.must('mkdir', '-p', '/etc/nodecertd', '/opt/synchronized');
  await container.write(file, stringify(configuration));
  // No time service reaches the clock of a container, so a script takes the place of timedatectl.
  const script = '#!/bin/sh\necho NTPSynchronized=yes\n';
  await container.write('/opt/synchronized/timedatectl', script, 0o755);
  const searchPath = '--setenv=PATH=/opt/synchronized:/usr/sbin:/usr/bin';
  const command = [program, 'run', '--config', file];
  await container.must('systemd-run', `--unit=${service}`, searchPath, ...command);
}

/**
 * Checks every ten seconds whether a certificate has expired, a component was rejected, or a
 * controller has not renewed its Lease for two minutes, the limit of a restart.
 */
async function watch(
  cluster: KubeadmCluster,
  {
    container,
    progress,
    signal,
  }: Pick<FaultOptions, 'progress' | 'signal'> & {
    readonly container: Container;
  },
): Promise<Watched> {
  const end = performance.now() + duration;
  let longestPause = 0;
  let shortestRest = Infinity;
  let reported = performance.now();
  while (performance.now() < end) {
    signal.throwIfAborted();
    await delay(10 * second, undefined, { signal });
    longestPause = Math.max(longestPause, await longestLeasePause(cluster));
    assert.ok(longestPause < scaled(2 * minute), `a Lease was not renewed for ${longestPause} ms`);
    shortestRest = Math.min(shortestRest, await requireValid(container));
    await requireNoneRejected(container);
    if (performance.now() - reported < 5 * minute) continue;
    reported = performance.now();
    progress(
      `${Math.ceil((end - reported) / minute)} minutes to go; certificates had at least ${Math.floor(shortestRest)} s left`,
    );
  }
  return { longestPause, shortestRest };
}

interface Watched {
  /** The longest time without a renewal of the Lease of a controller, in milliseconds. */
  readonly longestPause: number;
  /** The shortest time that a certificate had left, in seconds. */
  readonly shortestRest: number;
}

/** In milliseconds. */
async function longestLeasePause(cluster: KubeadmCluster): Promise<number> {
  const times = '-o=jsonpath={range .items[*]}{.spec.renewTime}{"\\n"}{end}';
  const output = await cluster.kubectl(
    'get',
    '--namespace=kube-system',
    'leases',
    ...controllers,
    times,
  );
  const instants = output.split('\n').filter(Boolean).map(Date.parse);
  assert.equal(instants.length, controllers.length, output);
  return Math.max(...instants.map((instant) => Date.now() - instant));
}

/** @returns the shortest time that a certificate of the control plane has left, in seconds */
async function requireValid(container: Container): Promise<number> {
  const command = [program, 'certs', 'check-expiration', '--no-dial', '-o', 'json'];
  const { stdout, stderr } = await container.run(...command);
  const { items } = JSON.parse(stdout) as {
    readonly items: readonly {
      readonly name: string;
      readonly state: string;
      readonly residualSeconds?: number;
    }[];
  };
  const invalid = items.filter(({ state }) => invalidStates.has(state));
  assert.deepEqual(invalid, [], stderr);
  const renewed = items.filter(({ name }) => renewedNames.includes(name));
  return Math.min(...renewed.map(({ residualSeconds = Infinity }) => residualSeconds));
}

const invalidStates = new Set(['expired', 'unreadable', 'key-mismatch']);

/** The API server rejects an expired identity with this word. */
async function requireNoneRejected(container: Container): Promise<void> {
  const logs = controllers.map((name) => `/var/log/pods/kube-system_${name}-*/*/*.log`).join(' ');
  const { stdout } = await container.run('sh', '-c', `grep -h Unauthorized ${logs} | head -3`);
  assert.equal(stdout, '', 'a controller was rejected');
}

interface Renewals {
  readonly renewals: ReadonlyMap<string, number>;
  readonly restarts: ReadonlyMap<string, number>;
}

/** How often each certificate was renewed, and each component restarted. */
async function renewalsOf(container: Container): Promise<Renewals> {
  const logged = await container.logged(service);
  const failed = logged.filter(({ event }) => event === 'pki_failed');
  assert.deepEqual(failed, []);
  const renewed = logged.filter(({ event }) => event === 'pki_renewed');
  return {
    renewals: countOf(renewed.flatMap(({ certificates }) => certificates as string[])),
    restarts: countOf(renewed.flatMap(({ restarted }) => (restarted ?? []) as string[])),
  };
}

function countOf(names: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}
