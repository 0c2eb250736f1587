import assert from 'node:assert/strict';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PlanBlock, PlanStep } from '../../src/trust/cluster/plan.ts';
import { startApiProber } from '../support/api-prober.ts';
import type { Ended } from '../support/doctor.ts';
import { startKubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import type { Report, Scenario } from './scenario.ts';

/**
 * Runs the commands of `nodecertd ca-rollover plan` on a cluster that kubeadm made, as an
 * administrator who pastes them does. The CAs of the nodes follow by `nodecertd trust sync`.
 */
export const kubeadmPlan: Scenario = {
  name: 'kubeadm-plan',
  isShort: false,
  async run(report) {
    const mounts = { '/opt/repository': join(import.meta.dirname, '../..') };
    await using cluster = await startKubeadmCluster({
      controlPlanes: 2,
      workers: 1,
      mounts,
      report,
    });
    await Promise.all(cluster.nodes.map(configure));
    const [first] = cluster.controlPlanes;
    assert.ok(first !== undefined);
    const { stdout } = await must(first, ['ca-rollover', 'plan', '-o', 'json']);
    const { steps } = JSON.parse(stdout) as { readonly steps: readonly PlanStep[] };
    assert.equal((await must(first, ['ca-rollover', 'status'])).code, 0);
    // The prober trusts the old CA alone, so the bridge has to keep it connected.
    using prober = await startApiProber(cluster);
    for (const step of steps) {
      if (step.id === 'finish') {
        const { failures, requests } = await prober.stop();
        report(`${requests} new connections with the old CA, ${failures.length} failed`);
        assert.deepEqual(failures, []);
      }
      await walk(step, { cluster, report });
    }
    await syncNodes(cluster);
    await cluster.untilReady();
    const { code, stdout: table } = await run(first, ['ca-rollover', 'status']);
    assert.equal(code, 0, table);
    await requireNewCa(cluster);
  },
};

const program = ['/opt/repository/node_modules/.bin/node', '/opt/repository/src/main.ts'] as const;

/** Every node trusts the CAs that the cluster publishes. */
async function configure({ container }: KubeadmNode): Promise<void> {
  await container.write('/etc/nodecertd/config.yaml', configuration);
}

const configuration = `apiVersion: nodecertd.io/v1alpha1
kind: AgentConfiguration
trust:
  enabled: true
`;

async function run({ container }: KubeadmNode, args: readonly string[]): Promise<Ended> {
  return container.run(...program, ...args);
}

async function must(node: KubeadmNode, args: readonly string[]): Promise<Ended> {
  const ended = await run(node, args);
  assert.equal(ended.code, 0, `${node.name} ${args.join(' ')}: ${ended.stdout}${ended.stderr}`);
  return ended;
}

interface Walk {
  readonly cluster: KubeadmCluster;
  readonly report: Report;
}

async function walk({ id, blocks }: PlanStep, { cluster, report }: Walk): Promise<void> {
  const [wait] = blocks;
  if (id === 'union') await syncNodes(cluster);
  if (id === 'droppable') await reissue(cluster);
  if (id === 'union' || id === 'droppable') return waitAs(wait, { cluster, report });
  for (const { node, commands } of blocks) {
    const began = performance.now();
    const here = cluster.node(node);
    // The nodes of this cluster have no SSH.
    const script = commands.filter((command) => !command.startsWith('scp ')).join('\n');
    await here.container.must('bash', '-ec', script);
    if (id === 'create') await copyFiles(here, cluster);
    report(`${id} on ${node}: ${((performance.now() - began) / 1_000).toFixed(1)} s`);
    const verified = await run(here, ['ca-rollover', 'verify']);
    assert.ok([0, 3].includes(verified.code), `${id} on ${node}: ${verified.stdout}`);
  }
}

/** The cluster has no pods that read CAs, and no clients outside. */
async function waitAs(block: PlanBlock | undefined, { cluster, report }: Walk): Promise<void> {
  assert.ok(block !== undefined);
  const [command = ''] = block.commands;
  const args = command
    .replace(/--timeout \w+/, '--timeout 10m')
    .split(' ')
    .slice(1);
  const { stdout } = await must(cluster.node(block.node), [...args, '--clients-ok']);
  report(stdout.trimEnd().split('\n').at(-1) ?? '');
}

async function copyFiles(from: KubeadmNode, { controlPlanes }: KubeadmCluster): Promise<void> {
  for (const name of ['ca-next.crt', 'ca-next.key', 'ca-bridge.crt']) {
    const path = `/etc/kubernetes/pki/${name}`;
    const content = await readFile(from.container.path(path));
    for (const { container } of controlPlanes.filter((node) => node !== from)) {
      await writeFile(container.path(path), content);
      await chmod(container.path(path), name.endsWith('.key') ? 0o600 : 0o644);
    }
  }
}

/**
 * As the agent does. These kubelets rotate their certificates themselves, so a later run restarts
 * them.
 */
async function syncNodes({ nodes }: KubeadmCluster): Promise<void> {
  for (const node of [...nodes, ...nodes]) {
    const { code, stdout, stderr } = await run(node, ['trust', 'sync', '--restart']);
    assert.ok([0, 3].includes(code), `${node.name}: ${stdout}${stderr}`);
  }
}

/** A new certificate for each kubelet, with its present one. */
async function reissue(cluster: KubeadmCluster): Promise<void> {
  for (const { name, container } of cluster.nodes) {
    await container.must('bash', '-ec', reissueScript(name));
  }
  await syncNodes(cluster);
}

function reissueScript(node: string): string {
  const kubectl = 'kubectl --kubeconfig /etc/kubernetes/kubelet.conf';
  return `
cd /var/lib/kubelet/pki
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout new.key -subj '/O=system:nodes/CN=system:node:${node}' -out new.csr
${kubectl} create -f - << END
{ apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: { name: ${node}-new }, spec: { request: $(base64 -w0 new.csr), signerName: kubernetes.io/kube-apiserver-client-kubelet, usages: [digital signature, client auth] } }
END
until ${kubectl} get csr ${node}-new -o 'jsonpath={.status.certificate}' | base64 -d > new.crt && [ -s new.crt ]; do sleep 1; done
cat new.crt new.key > kubelet-client-new.pem
chmod 600 kubelet-client-new.pem
ln -sfn /var/lib/kubelet/pki/kubelet-client-new.pem kubelet-client-current.pem
rm new.csr new.crt new.key
systemctl restart kubelet`;
}

/** Nothing of the rollover is left, and every certificate verifies with the new CA alone. */
async function requireNewCa({ controlPlanes }: KubeadmCluster): Promise<void> {
  for (const { container } of controlPlanes) {
    const { stdout } = await container.run('bash', '-ec', 'cd /etc/kubernetes/pki; ls ca*');
    assert.equal(stdout, 'ca.crt\nca.key\n');
    await container.must(
      'bash',
      '-ec',
      'cd /etc/kubernetes/pki; openssl verify -CAfile ca.crt apiserver.crt apiserver-kubelet-client.crt',
    );
    await container.must('kubeadm', 'certs', 'check-expiration');
  }
}
