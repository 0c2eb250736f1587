import assert from 'node:assert/strict';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import { AppliedRollover, requireRefused } from './applied-rollover.ts';
import { startClusterClients } from './cluster-clients.ts';
import {
  copyByPlan,
  nodecertd,
  planOf,
  requireNewCa,
  runBlock,
  startTrustCluster,
  syncNodes,
} from './kubeadm-rollover.ts';
import type { Report, Scenario } from './scenario.ts';

/**
 * A control-plane node is off for a whole rollover, and returns with the old CA alone. The commands of
 * `plan --return` bring it back.
 */
export const kubeadmAbsentControlPlane: Scenario = {
  name: 'kubeadm-absent-control-plane',
  isShort: false,
  async run(report) {
    await using cluster = await startTrustCluster(report, { controlPlanes: 3, workers: 1 });
    const absent = cluster.node('control-plane-3');
    const oldCa = await absent.container.read('/etc/kubernetes/pki/ca.crt');
    await absent.container.stop();
    const gone = ['--for=condition=Ready=Unknown', '--timeout=120s', `node/${absent.name}`];
    await cluster.kubectl('wait', ...gone);
    const gates = ['--except', absent.name];
    const rollover = await AppliedRollover.plan(cluster, report, { gates });
    const { first } = rollover;
    await rollover.create();
    const refused = async (...step: readonly string[]): Promise<void> => {
      assert.match(await requireRefused(first, ...step), new RegExp(absent.name));
    };
    await rollover.trust();
    await rollover.union();
    await refused('switch');
    await rollover.switch();
    await rollover.restartServers();
    await rollover.reissue();
    await refused('finish', '--clients-ok', '--old-key', 'destroy');
    await rollover.finish();
    await bringBack(absent, { cluster, first, report });
    await rollover.requireGreen();
    await requireNewCa(cluster);
    await requireGone(oldCa, cluster);
    await requireMembers(cluster);
    await letLead(absent, cluster);
    await requireConnections({ cluster, first, report });
    await requireGone(oldCa, cluster);
  },
};

interface Return {
  readonly cluster: KubeadmCluster;
  readonly first: KubeadmNode;
  readonly report: Report;
}

async function bringBack(absent: KubeadmNode, { cluster, first, report }: Return): Promise<void> {
  await absent.container.start();
  const command = `nodecertd ca-rollover plan --return ${absent.name}`;
  const named = async (): Promise<string | undefined> => {
    const { code, stdout } = await nodecertd(first, ['ca-rollover', 'status']);
    return code === 4 && stdout.includes(command) ? stdout : undefined;
  };
  report(await first.container.until('status 4', named, 180_000));
  const steps = await planOf(first, '--return', absent.name);
  for (const { id, blocks } of steps) {
    for (const block of blocks) {
      await copyByPlan(block, cluster);
      await runBlock(block, { cluster, report, id });
    }
  }
  await syncNodes(cluster);
}

/** kube-controller-manager of the node publishes the CA, and signs. */
async function letLead(absent: KubeadmNode, cluster: KubeadmCluster): Promise<void> {
  const lease = ['get', 'lease', '--namespace=kube-system', 'kube-controller-manager'];
  const leads = async (): Promise<true | undefined> => {
    const holder = await cluster.kubectl(...lease, '--output=jsonpath={.spec.holderIdentity}');
    if (holder.startsWith(`${absent.name}_`)) return true;
    const others = cluster.controlPlanes.filter((node) => node !== absent);
    await Promise.all(
      others.map(async ({ container }) => container.run('bash', '-ec', stopManager)),
    );
    return undefined;
  };
  await absent.container.until('the lease', leads, 300_000);
}

const stopManager = 'crictl stop $(crictl ps --quiet --name kube-controller-manager)';

/** All members of etcd are healthy. */
async function requireMembers({ controlPlanes }: KubeadmCluster): Promise<void> {
  const [first] = controlPlanes;
  const pki = '/etc/kubernetes/pki/etcd';
  const files = `--cacert=${pki}/ca.crt --cert=${pki}/server.crt --key=${pki}/server.key`;
  const health = `etcdctl ${files} endpoint health --cluster --write-out=fields`;
  const members = await first?.container.must('bash', '-ec', health);
  assert.equal(members?.match(/"Health" : true/g)?.length, controlPlanes.length, members ?? '');
}

/**
 * No file of the control plane and no ConfigMap has the old CA. The nodes drop it from kubelet.conf a day
 * later.
 */
async function requireGone(oldCa: string, cluster: KubeadmCluster): Promise<void> {
  const line = oldCa.split('\n')[5] ?? '';
  const has = (text: string): boolean => [text, ...decoded(text)].some((one) => one.includes(line));
  for (const { name, container } of cluster.controlPlanes) {
    const list = 'find /etc/kubernetes -type f -not -name kubelet.conf';
    for (const path of (await container.must('bash', '-ec', list)).trim().split('\n')) {
      assert.ok(!has(await container.read(path)), `${path} on ${name}`);
    }
  }
  const objects = await cluster.kubectl('get', 'configmaps', '--all-namespaces', '--output=yaml');
  assert.ok(!has(objects), objects);
}

/** The CAs in kubeconfigs. */
function decoded(text: string): string[] {
  const encoded = text.match(/[A-Za-z0-9+/=]{400,}/g) ?? [];
  return encoded.map((one) => Buffer.from(one, 'base64').toString());
}

/** An API server that takes its new client certificate cuts its connections to kubelets once, also one in use. */
const cut = /use of closed network connection|connection force closed|connection lost/;

/** New connections to every API server and every kubelet, and from every API server to every kubelet. */
async function requireConnections({ cluster, first, report }: Return): Promise<void> {
  using clients = startClusterClients(cluster, { url: `https://${first.address}:6443` });
  const issued = '{range .items[?(@.status.certificate)]}{.metadata.name}{"\\n"}{end}';
  const areIssued = async (): Promise<true | undefined> => {
    const names = await cluster.kubectl('get', 'csr', `--output=jsonpath=${issued}`);
    return (
      names.split('\n').filter((name) => name.startsWith('new-client-')).length > 4 || undefined
    );
  };
  await cluster.controlPlanes[0]?.container.until('new certificates', areIssued, 120_000);
  for (const { address } of cluster.controlPlanes) {
    for (const { name } of cluster.nodes) {
      const path = `/api/v1/nodes/${name}/proxy/healthz`;
      const request = async (): Promise<string> =>
        cluster.kubectl(`--server=https://${address}:6443`, 'get', '--raw', path);
      await request().catch(async (error: unknown) => {
        assert.match(String(error), cut);
        await request();
      });
    }
  }
  const { failures, requests, csrs = 0 } = await clients.stop();
  assert.ok(csrs > 0);
  // An API server that answers so has accepted the certificate. On a busy machine, etcd is late.
  const late = failures.filter((failure) => /status 500|: 500 /.test(failure));
  report(
    `${requests} requests, ${csrs} new certificates, ${late.length} requests ended with HTTP 500`,
  );
  assert.deepEqual(
    failures.filter((failure) => !late.includes(failure)),
    [],
  );
}
