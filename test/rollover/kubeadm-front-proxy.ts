import assert from 'node:assert/strict';
import { stringify } from 'yaml';
import { startApiProber } from '../support/api-prober.ts';
import {
  extensionApi,
  extensionOptions,
  extensionPath,
  startExtensionServers,
} from '../support/extension-server.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import { apply, copyFiles, mustApply, startTrustCluster, timed } from './kubeadm-rollover.ts';
import type { Report, Scenario } from './scenario.ts';

const ca = ['--ca', 'front-proxy'] as const;

/**
 * Replaces the CA `front-proxy` while clients get the objects of a real extension API server through
 * each kube-apiserver, and undoes the steps on the way.
 */
export const kubeadmFrontProxy: Scenario = {
  name: 'kubeadm-front-proxy',
  isShort: false,
  async run(report) {
    await using cluster = await startTrustCluster(report, { workers: 0, ...extensionOptions() });
    await startExtensionServers(cluster);
    const [first, second] = cluster.controlPlanes;
    assert.ok(first !== undefined && second !== undefined);
    report(`${extensionApi} is Available`);
    using prober = await startApiProber(cluster, extensionPath);
    await returnToOld(cluster, report);
    await create(cluster, report);
    await requireRefused(first, 'switch');
    await requireUndone(first, report, 'trust');
    await mustApply(first, report, 'trust', ...ca);
    await requireRefused(first, 'switch');
    await mustApply(second, report, 'trust', ...ca);
    await requireRefused(first, 'finish', '--old-key', 'keep');
    await addRejectingApi(second);
    await requireRefused(first, 'switch');
    await requireUndone(first, report, 'switch', '--except', rejectingApi);
    await cluster.kubectl('delete', 'apiservice', rejectingApi);
    await mustApply(first, report, 'switch', ...ca);
    await requireRefused(second, 'trust', '--undo');
    await requireRefused(first, 'finish', '--old-key', 'keep');
    await mustApply(second, report, 'switch', ...ca);
    await requireNothingToDo(first, 'switch');
    await mustApply(first, report, 'finish', ...ca, '--old-key', 'destroy');
    await mustApply(second, report, 'finish', ...ca, '--old-key', 'destroy');
    await requireOneCa(cluster);
    for (const { container } of cluster.controlPlanes) {
      await container.must('kubeadm', 'certs', 'check-expiration');
      await container.must('kubeadm', 'certs', 'renew', 'all');
    }
    report('kubeadm certs renew all');
    await cluster.untilReady();
    await requireAvailable(cluster);
    const { requests, failures } = await prober.stop();
    report(`${requests} requests to ${extensionApi}, ${failures.length} failed`);
    assert.deepEqual(failures, []);
  },
};

/** On the first node, whose files the others get. */
async function create(cluster: KubeadmCluster, report: Report): Promise<void> {
  const [first] = cluster.controlPlanes;
  assert.ok(first !== undefined);
  await mustApply(first, report, 'create', ...ca);
  await copyFiles(first, cluster, ['front-proxy-ca-next.crt', 'front-proxy-ca-next.key']);
}

/**
 * `abort` on each node: on the first one after `switch`, and then on both at once after `trust`. Before that,
 * `trust` is killed on the first node.
 */
async function returnToOld(cluster: KubeadmCluster, report: Report): Promise<void> {
  const [first, second] = cluster.controlPlanes;
  assert.ok(first !== undefined && second !== undefined);
  const before = await requireOneCa(cluster);
  await create(cluster, report);
  await first.container.must('bash', '-ec', killedTrust);
  const [after] = await applyOnEach([second], 'trust', report);
  assert.match(after ?? '', isHeld);
  await mustApply(first, report, 'trust', ...ca);
  await mustApply(first, report, 'switch', ...ca);
  await requireRefused(second, 'abort');
  await mustApply(first, report, 'abort', ...ca);
  const atOnce = await applyOnEach([first, second], 'abort', report);
  assert.equal(atOnce.filter((stderr) => isHeld.test(stderr)).length, 1);
  assert.equal(await requireOneCa(cluster), before);
}

/** The command ends while it holds the Lease. */
const killedTrust = `
nodecertd ca-rollover apply trust --ca front-proxy --yes &
lease='kubectl --namespace kube-system get lease nodecertd-pki-renewal --ignore-not-found'
until [[ $($lease --output 'jsonpath={.spec.holderIdentity}') == "$(hostname)"* ]]; do :; done
kill -9 $!
`;

const isHeld = /^waiting: control-plane-\d is changing its files, and holds the Lease/m;

/** On all nodes at once. @returns the standard error of each command */
async function applyOnEach(
  nodes: readonly KubeadmNode[],
  step: string,
  report: Report,
): Promise<string[]> {
  let ended: Awaited<ReturnType<typeof apply>>[] = [];
  await timed(`${step} on ${nodes.map(({ name }) => name).join(' and ')}`, report, async () => {
    ended = await Promise.all(nodes.map(async (node) => apply(node, step, ...ca)));
  });
  for (const { code, stdout, stderr } of ended) assert.equal(code, 0, stdout + stderr);
  return ended.map(({ stderr }) => stderr);
}

/** Also with --yes. */
async function requireRefused(node: KubeadmNode, ...step: readonly string[]): Promise<void> {
  const { code, stdout, stderr } = await apply(node, ...step, ...ca);
  assert.equal(code, 3, `${step.join(' ')} on ${node.name}: ${stdout}${stderr}`);
}

async function requireNothingToDo(node: KubeadmNode, step: string): Promise<void> {
  const before = await filesOf(node);
  const { code, stdout, stderr } = await apply(node, step, ...ca);
  assert.equal(code, 0, `${node.name} ${step}: ${stdout}${stderr}`);
  assert.equal(await filesOf(node), before);
}

/** The files of the node are as before the step, byte for byte. */
async function requireUndone(
  node: KubeadmNode,
  report: Report,
  ...step: readonly string[]
): Promise<void> {
  const before = await filesOf(node);
  await mustApply(node, report, ...step, ...ca);
  assert.notEqual(await filesOf(node), before);
  await mustApply(node, report, ...step, ...ca, '--undo');
  assert.equal(await filesOf(node), before);
}

async function filesOf({ container }: KubeadmNode): Promise<string> {
  const files = 'find /etc/kubernetes -type f -not -path "*/.nodecertd*" | sort | xargs sha256sum';
  return container.must('bash', '-ec', files);
}

const rejectingApi = 'v1.rejecting.example.com';

/** A kubelet rejects every front proxy. */
async function addRejectingApi({ address, container }: KubeadmNode): Promise<void> {
  const metadata = { namespace: 'kube-system', name: 'rejecting' };
  const ports = [{ name: 'https', port: 10_250 }];
  const objects = [
    { apiVersion: 'v1', kind: 'Service', metadata, spec: { ports } },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { ...metadata, labels: { 'kubernetes.io/service-name': metadata.name } },
      addressType: 'IPv4',
      ports,
      endpoints: [{ addresses: [address] }],
    },
    {
      apiVersion: 'apiregistration.k8s.io/v1',
      kind: 'APIService',
      metadata: { name: rejectingApi },
      spec: {
        group: 'rejecting.example.com',
        version: 'v1',
        service: { ...metadata, port: 10_250 },
        insecureSkipTLSVerify: true,
        groupPriorityMinimum: 1000,
        versionPriority: 15,
      },
    },
  ];
  const file = '/run/rejecting.yaml';
  await container.write(file, objects.map((one) => stringify(one)).join('---\n'));
  await container.must('kubectl', 'apply', '--filename', file);
}

async function requireAvailable(cluster: KubeadmCluster): Promise<void> {
  await cluster.kubectl(
    'wait',
    '--for=condition=Available',
    '--timeout=60s',
    'apiservice',
    extensionApi,
  );
}

/**
 * Nothing of the rollover is left, neither on the nodes nor in the ConfigMap.
 * @returns the CA of the nodes
 */
async function requireOneCa(cluster: KubeadmCluster): Promise<string> {
  const [first] = cluster.controlPlanes;
  assert.ok(first !== undefined);
  const authority = await first.container.read('/etc/kubernetes/pki/front-proxy-ca.crt');
  for (const { container } of cluster.controlPlanes) {
    assert.equal(await container.read('/etc/kubernetes/pki/front-proxy-ca.crt'), authority);
    const script = 'cd /etc/kubernetes/pki; ls front-proxy*; ls -A ..';
    const listed = await container.must('bash', '-ec', script);
    assert.match(
      listed,
      /^front-proxy-ca\.crt\nfront-proxy-ca\.key\nfront-proxy-client\.crt\nfront-proxy-client\.key\n/,
    );
    await container.must(
      'openssl',
      'verify',
      '-CAfile',
      '/etc/kubernetes/pki/front-proxy-ca.crt',
      '/etc/kubernetes/pki/front-proxy-client.crt',
    );
  }
  const published = await cluster.kubectl(
    'get',
    'configmap',
    '--namespace=kube-system',
    'extension-apiserver-authentication',
    '--output=jsonpath={.data.requestheader-client-ca-file}',
  );
  assert.equal(published.trim(), authority.trim());
  return authority;
}
