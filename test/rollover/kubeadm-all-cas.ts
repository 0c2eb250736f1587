import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import { fingerprintOf } from '../support/agent.ts';
import { startApiProber } from '../support/api-prober.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import { pauseReference } from '../support/node-images.ts';
import { AppliedRollover, requireRefused } from './applied-rollover.ts';
import { endClients, startClusterClients } from './cluster-clients.ts';
import { ApiWriter, MemberWatch } from './etcd-observers.ts';
import { useKubeadm } from './kubeadm-afterwards.ts';
import { NodeAgents } from './kubeadm-agents.ts';
import { manifestsOf } from './kubeadm-apply.ts';
import { replaceEtcdCa, requireMajority, requireWrites } from './kubeadm-etcd.ts';
import { copyFiles, mustApply, requireConnections, startTrustCluster } from './kubeadm-rollover.ts';
import { Leftovers } from './leftovers.ts';
import { balancedConfiguration, LoadBalancer } from './load-balancer.ts';
import type { Report, Scenario } from './scenario.ts';

/**
 * Replaces all CAs in turn with three control-plane nodes, an agent and a pod on each node, and clients of
 * each API server, each kubelet and a load balancer. No request fails, except to an API server that
 * restarts for the CA of etcd. Afterwards no old CA is left, and kubeadm works.
 */
export const kubeadmAllCas: Scenario = {
  name: 'kubeadm-all-cas',
  isShort: false,
  async run(report) {
    await using cluster = await startTrustCluster(report, {
      controlPlanes: 3,
      workers: 1,
      configuration: balancedConfiguration,
    });
    const agents = await NodeAgents.start(cluster, report);
    const pods = await createPods(cluster);
    const old = await authoritiesOf(cluster);
    const before = await manifestsOf(cluster);
    const kubelets = await kubeletsOf(cluster);
    using balancer = await LoadBalancer.start(cluster);
    using watch = new MemberWatch(cluster);
    using clients = startClusterClients(cluster, balancer);
    const since = Date.now();

    const observed = { watch, report, balancer };
    await replaceKubernetesCa(cluster, { agents, report });
    const droppable = Date.now();
    await replaceFrontProxyCa(cluster, report);
    assert.deepEqual(watch.restartsSince(since), {});
    const restartsSince = new Date().toISOString();
    using writer = await ApiWriter.start(cluster);
    await replaceEtcdCa(cluster, observed);
    await requireWrites(cluster, writer, report);
    const failed = await endClients(clients, { report, restartsSince });
    requireMajority(watch, { report, since });

    assert.deepEqual(await kubeletsOf(cluster), kubelets);
    assert.deepEqual(await containersOf(cluster), pods);
    assert.deepEqual(await manifestsOf(cluster), before);
    for (const { name, leftovers } of old) {
      assert.deepEqual(await leftovers.inCluster(cluster), [], name);
    }
    report('no object, and no served certificate, is from an old CA');
    await requirePublished(cluster);
    await agents.drop(old[0].fingerprint, droppable);
    for (const { name, leftovers } of old) {
      for (const node of cluster.nodes) assert.deepEqual(await leftovers.onNode(node), [], name);
    }
    report('no file is from an old CA');
    await useKubeadm(cluster, report);
    await replaceFrontProxyCa(cluster, report);
    await cluster.untilReady();
    assert.deepEqual(failed, []);
  },
};

interface OldAuthority {
  readonly name: string;
  readonly fingerprint: string;
  readonly leftovers: Leftovers;
}

async function authoritiesOf({
  controlPlanes,
}: KubeadmCluster): Promise<[OldAuthority, ...OldAuthority[]]> {
  const [first] = controlPlanes;
  assert.ok(first !== undefined);
  const read = async (name: string): Promise<OldAuthority> => {
    const pem = await first.container.read(`/etc/kubernetes/pki/${name}.crt`);
    const fingerprint = fingerprintOf(new X509Certificate(pem));
    return { name, fingerprint, leftovers: new Leftovers(pem) };
  };
  return [await read('ca'), await read('front-proxy-ca'), await read('etcd/ca')];
}

/** A client that knows the old CA alone also connects until the last step. */
async function replaceKubernetesCa(
  cluster: KubeadmCluster,
  { agents, report }: { readonly agents: NodeAgents; readonly report: Report },
): Promise<void> {
  const gates = ['--pods-ok'];
  const rollover = await AppliedRollover.plan(cluster, report, { gates, agents });
  using prober = await startApiProber(cluster);
  await rollover.create();
  await rollover.trust();
  assert.match(await requireRefused(rollover.first, 'switch'), /G4/);
  await rollover.union();
  await rollover.switch();
  await rollover.reissue();
  await requireConnections(prober, report);
  await rollover.finish();
  await rollover.requireGreen();
}

async function replaceFrontProxyCa(cluster: KubeadmCluster, report: Report): Promise<void> {
  const ca = ['--ca', 'front-proxy'];
  const [first] = cluster.controlPlanes;
  assert.ok(first !== undefined);
  await mustApply(first, report, 'create', ...ca);
  await copyFiles(first, cluster, ['front-proxy-ca-next.crt', 'front-proxy-ca-next.key']);
  for (const step of [['trust'], ['switch'], ['finish', '--old-key', 'destroy']]) {
    for (const node of cluster.controlPlanes) await mustApply(node, report, ...step, ...ca);
  }
}

/** Their process IDs. */
async function kubeletsOf({ nodes }: KubeadmCluster): Promise<string[]> {
  return Promise.all(
    nodes.map(async ({ container }) => container.property('kubelet.service', 'MainPID')),
  );
}

async function containersOf(cluster: KubeadmCluster): Promise<string> {
  return containerStarts(cluster, ['--namespace=default']);
}

async function containerStarts(
  cluster: KubeadmCluster,
  chosen: readonly string[],
): Promise<string> {
  const columns =
    'jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].containerID}{"\\n"}{end}';
  return cluster.kubectl('get', 'pods', ...chosen, `--output=${columns}`);
}

/** One on each node, which never reads the CAs again. */
async function createPods(cluster: KubeadmCluster): Promise<string> {
  for (const { name } of cluster.nodes) {
    const overrides = {
      apiVersion: 'v1',
      spec: { nodeName: name, tolerations: [{ operator: 'Exists' }] },
    };
    const image = `--image=${pauseReference()}`;
    const options = [image, '--restart=Never', `--overrides=${JSON.stringify(overrides)}`];
    await cluster.kubectl('run', `pod-${name}`, ...options);
  }
  await cluster.kubectl('wait', '--for=condition=Ready', '--all', '--timeout=120s', 'pods');
  return containersOf(cluster);
}

/** The kubelet has written the new CA alone into the volume of each pod. */
async function requirePublished(cluster: KubeadmCluster): Promise<void> {
  const authority = await cluster.controlPlanes[0]?.container.read('/etc/kubernetes/pki/ca.crt');
  const volumes = 'var/lib/kubelet/pods/*/volumes/kubernetes.io~projected/*/ca.crt';
  for (const { container } of cluster.nodes) {
    const path = container.path('/');
    // The kubelet writes it within 90 s.
    await container.until(
      'the new CA in the pod',
      async () => {
        const found = globSync(volumes, { cwd: path });
        const texts = found.map((file) => readFileSync(`${path}/${file}`, 'utf8'));
        return (texts.length > 0 && texts.every((text) => text === authority)) || undefined;
      },
      180_000,
    );
  }
}
