import assert from 'node:assert/strict';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PlanBlock, PlanStep } from '../../src/trust/cluster/plan.ts';
import type { ApiProber } from '../support/api-prober.ts';
import type { Ended } from '../support/doctor.ts';
import { startKubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { ClusterOptions, KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import type { Report } from './scenario.ts';

/** A cluster on which nodecertd keeps the CAs of the nodes: by default two control planes and a worker. */
export async function startTrustCluster(
  report: Report,
  {
    controlPlanes = 2,
    workers = 1,
    mounts: others,
    ...options
  }: Partial<Omit<ClusterOptions, 'report'>> = {},
): Promise<KubeadmCluster> {
  const mounts = { '/opt/repository': join(import.meta.dirname, '../..'), ...others };
  const cluster = await startKubeadmCluster({
    ...options,
    controlPlanes,
    workers,
    mounts,
    report,
  });
  await Promise.all(cluster.nodes.map(configureTrust));
  return cluster;
}

/** The node has nodecertd, and trusts the CAs that the cluster publishes. */
export async function configureTrust({ container }: KubeadmNode): Promise<void> {
  await container.write('/usr/local/bin/nodecertd', program, 0o755);
  await container.write('/etc/nodecertd/config.yaml', configuration);
}

/** Most of the time of a short command is the compilation of its sources. */
const program = `#!/bin/sh
export NODE_COMPILE_CACHE=/var/cache/nodecertd
exec /opt/repository/node_modules/.bin/node /opt/repository/src/main.ts "$@"
`;

const configuration = `apiVersion: nodecertd.io/v1alpha1
kind: AgentConfiguration
trust:
  enabled: true
`;

export async function nodecertd(
  { container }: KubeadmNode,
  args: readonly string[],
): Promise<Ended> {
  return container.run('nodecertd', ...args);
}

export async function mustNodecertd(node: KubeadmNode, args: readonly string[]): Promise<Ended> {
  const ended = await nodecertd(node, args);
  assert.equal(ended.code, 0, `${node.name} ${args.join(' ')}: ${ended.stdout}${ended.stderr}`);
  return ended;
}

/**
 * The steps for this cluster. The node with the leading kube-controller-manager comes last.
 * @param options `--abort` for the return to the old CA
 */
export async function planOf(
  node: KubeadmNode,
  ...options: readonly string[]
): Promise<readonly PlanStep[]> {
  const { stdout } = await mustNodecertd(node, ['ca-rollover', 'plan', '-o', 'json', ...options]);
  return (JSON.parse(stdout) as { readonly steps: readonly PlanStep[] }).steps;
}

/**
 * Runs `ca-rollover apply` without a question, by default for the CA `kubernetes`.
 * @param args the step and its options
 */
export async function apply(node: KubeadmNode, ...args: readonly string[]): Promise<Ended> {
  const ca = args.includes('--ca') ? [] : ['--ca', 'kubernetes'];
  return nodecertd(node, ['ca-rollover', 'apply', ...args, ...ca, '--yes']);
}

export async function mustApply(
  node: KubeadmNode,
  report: Report,
  ...args: readonly string[]
): Promise<void> {
  await timed(`${args.join(' ')} on ${node.name}`, report, async () => {
    const { code, stdout, stderr } = await apply(node, ...args);
    assert.equal(code, 0, `${node.name} ${args.join(' ')}: ${stdout}${stderr}`);
    assert.doesNotMatch(stdout + stderr, /PRIVATE KEY/);
  });
}

export async function timed(
  what: string,
  report: Report,
  work: () => Promise<void>,
): Promise<void> {
  const began = performance.now();
  await work();
  report(`${what}: ${((performance.now() - began) / 1_000).toFixed(1)} s`);
}

/** The commands of a block, in the shell of its node. These nodes have no SSH. */
export async function runBlock(
  { node, commands }: PlanBlock,
  {
    cluster,
    report,
    id,
  }: {
    readonly cluster: KubeadmCluster;
    readonly report: Report;
    readonly id: string;
  },
): Promise<void> {
  const script = commands.filter((command) => !command.startsWith('scp ')).join('\n');
  await timed(`${id} on ${node}`, report, async () => {
    await cluster.node(node).container.must('bash', '-ec', script);
  });
}

/** No file of the node is wrong, in the middle of a rollover. */
export async function requireConsistent(
  node: KubeadmNode,
  options: readonly string[] = [],
): Promise<void> {
  const { code, stdout } = await nodecertd(node, ['ca-rollover', 'verify', ...options]);
  assert.ok([0, 3].includes(code), `${node.name}: ${stdout}`);
}

/**
 * The cluster has no pods that read CAs, and no clients outside.
 * @param goal further options may follow, as in `union --except NODE`
 */
export async function waitFor(node: KubeadmNode, goal: string, report: Report): Promise<void> {
  const wait = ['ca-rollover', 'wait', '--timeout', '10m', '--clients-ok'];
  const args = [...wait, '--for', ...goal.split(' ')];
  const { stdout } = await mustNodecertd(node, args);
  report(stdout.trimEnd().split('\n').at(-1) ?? '');
}

/** Ends a prober that trusts the old CA alone, so the bridge had to keep it connected. */
export async function requireConnections(prober: ApiProber, report: Report): Promise<void> {
  const { failures, requests } = await prober.stop();
  report(`${requests} new connections with the old CA, ${failures.length} failed`);
  assert.deepEqual(failures, []);
}

/** What the `scp -p FILE... NODE:FOLDER/` commands of a block do. */
export async function copyByPlan(
  { node, commands }: PlanBlock,
  cluster: KubeadmCluster,
): Promise<void> {
  for (const command of commands.filter((one) => one.startsWith('scp -p '))) {
    const words = command.split(' ').slice(2);
    const [name = ''] = words.pop()?.split(':') ?? [];
    for (const path of words) {
      const mode = path.endsWith('.crt') ? 0o644 : 0o600;
      const text = await cluster.node(node).container.read(path);
      await cluster.node(name).container.write(path, text, mode);
    }
  }
}

export async function copyFiles(
  from: KubeadmNode,
  { controlPlanes }: KubeadmCluster,
  names: readonly string[] = ['ca-next.crt', 'ca-next.key', 'ca-bridge.crt'],
): Promise<void> {
  for (const name of names) {
    const path = `/etc/kubernetes/pki/${name}`;
    const content = await readFile(from.container.path(path));
    for (const { container } of running(controlPlanes).filter((node) => node !== from)) {
      await writeFile(container.path(path), content);
      await chmod(container.path(path), name.endsWith('.key') ? 0o600 : 0o644);
    }
  }
}

/**
 * As the agent does. These kubelets rotate their certificates themselves, so a later run restarts
 * them.
 */
export async function syncNodes(cluster: Pick<KubeadmCluster, 'nodes'>): Promise<void> {
  const nodes = running(cluster.nodes);
  for (const node of [...nodes, ...nodes]) {
    const { code, stdout, stderr } = await nodecertd(node, ['trust', 'sync', '--restart']);
    assert.ok([0, 3].includes(code), `${node.name}: ${stdout}${stderr}`);
  }
}

/** A new certificate for each kubelet, with its current one. */
export async function reissue(cluster: KubeadmCluster): Promise<void> {
  for (const { name, container } of running(cluster.nodes)) {
    await container.must('bash', '-ec', reissueScript(name));
  }
  await syncNodes(cluster);
}

/** Without the nodes that are switched off. */
export function running(nodes: readonly KubeadmNode[]): readonly KubeadmNode[] {
  return nodes.filter(({ container }) => container.running);
}

function reissueScript(node: string): string {
  const kubectl = 'kubectl --kubeconfig /etc/kubernetes/kubelet.conf';
  return `
cd /var/lib/kubelet/pki
name=${node}-$(date +%s)
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout new.key -subj '/O=system:nodes/CN=system:node:${node}' -out new.csr
${kubectl} create -f - << END
{ apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: { name: $name }, spec: { request: $(base64 -w0 new.csr), signerName: kubernetes.io/kube-apiserver-client-kubelet, usages: [digital signature, client auth] } }
END
until ${kubectl} get csr $name -o 'jsonpath={.status.certificate}' | base64 -d > new.crt && [ -s new.crt ]; do sleep 1; done
cat new.crt new.key > kubelet-client-$name.pem
chmod 600 kubelet-client-$name.pem
ln -sfn /var/lib/kubelet/pki/kubelet-client-$name.pem kubelet-client-current.pem
rm new.csr new.crt new.key
systemctl restart kubelet`;
}

/** After a control-plane node was switched on. */
export async function untilAnswering(
  cluster: KubeadmCluster,
  { name, container }: KubeadmNode,
): Promise<void> {
  const server = `--server=https://${name}:6443`;
  const isAnswering = async (): Promise<true | undefined> => {
    const { code } = await container.run('kubectl', server, 'get', '--raw', '/readyz');
    return code === 0 || undefined;
  };
  await container.until('its API server', isAnswering, 180_000);
  await cluster.untilReady();
}

/** Nothing of the rollover is left, and every certificate verifies with the new CA alone. */
export async function requireNewCa({ controlPlanes }: KubeadmCluster): Promise<void> {
  for (const { container } of running(controlPlanes)) {
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
