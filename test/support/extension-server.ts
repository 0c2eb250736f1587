import { stringify } from 'yaml';
import type { ClusterOptions, KubeadmCluster } from './kubeadm-cluster.ts';
import type { KubeadmNode } from './kubeadm-node.ts';
import { extensionProgram, isExecutable, skip } from './programs.ts';

/** A real extension API server on each control-plane node, behind one APIService. */

const program = '/opt/sample-apiserver';
const port = 10_443;
const group = 'wardle.example.com';
const version = 'v1alpha1';
const namespace = 'kube-system';
const service = 'sample-apiserver';

export const extensionApi = `${version}.${group}`;

/** Everyone may get this list, and kube-apiserver gets it from the extension API server. */
export const extensionPath = `/apis/${group}/${version}/namespaces/default/flunders`;

/** Without kube-proxy, kube-apiserver has to find the endpoints of a Service itself. */
export const extensionOptions = (): Pick<ClusterOptions, 'mounts' | 'configuration'> => ({
  mounts: { [program]: extensionProgram() },
  configuration: {
    apiServer: { extraArgs: [{ name: 'enable-aggregator-routing', value: 'true' }] },
  },
});

/** For the `skip` option of a test. @throws in CI, where no test may be skipped */
export function skipWithoutExtensionServer(): string | false {
  if (isExecutable(extensionProgram())) return false;
  return skip('tests with an extension API server: not built (make control-plane)');
}

export async function startExtensionServers(cluster: KubeadmCluster): Promise<void> {
  const { controlPlanes } = cluster;
  await Promise.all(controlPlanes.map(start));
  const [first] = controlPlanes;
  const file = '/run/extension.yaml';
  await first?.container.write(
    file,
    objects(controlPlanes)
      .map((one) => stringify(one))
      .join('---\n'),
  );
  await cluster.kubectl('apply', '--filename', file);
  await cluster.kubectl(
    'wait',
    '--for=condition=Available',
    '--timeout=120s',
    'apiservice',
    extensionApi,
  );
}

async function start({ container }: KubeadmNode): Promise<void> {
  const pki = '/etc/kubernetes/pki';
  const admin = '/etc/kubernetes/admin.conf';
  await container.must(
    'systemd-run',
    '--unit=sample-apiserver',
    '--property=Restart=always',
    program,
    `--secure-port=${port}`,
    '--cert-dir=/var/lib/sample-apiserver',
    '--etcd-servers=https://127.0.0.1:2379',
    `--etcd-cafile=${pki}/etcd/ca.crt`,
    `--etcd-certfile=${pki}/apiserver-etcd-client.crt`,
    `--etcd-keyfile=${pki}/apiserver-etcd-client.key`,
    `--kubeconfig=${admin}`,
    `--authentication-kubeconfig=${admin}`,
    `--authorization-kubeconfig=${admin}`,
  );
}

function objects(nodes: readonly KubeadmNode[]): object[] {
  const metadata = { namespace, name: service };
  const reader = { name: 'flunder-reader' };
  const rbac = 'rbac.authorization.k8s.io';
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      spec: { ports: [{ name: 'https', port: 443, targetPort: port }] },
    },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { ...metadata, labels: { 'kubernetes.io/service-name': service } },
      addressType: 'IPv4',
      ports: [{ name: 'https', port }],
      endpoints: nodes.map(({ address }) => ({ addresses: [address] })),
    },
    {
      apiVersion: 'apiregistration.k8s.io/v1',
      kind: 'APIService',
      metadata: { name: extensionApi },
      spec: {
        group,
        version,
        service: { namespace, name: service },
        insecureSkipTLSVerify: true,
        groupPriorityMinimum: 1000,
        versionPriority: 15,
      },
    },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'ClusterRole',
      metadata: reader,
      rules: [{ apiGroups: [group], resources: ['flunders'], verbs: ['get', 'list'] }],
    },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: reader,
      roleRef: { apiGroup: rbac, kind: 'ClusterRole', name: reader.name },
      subjects: [{ apiGroup: rbac, kind: 'Group', name: 'system:unauthenticated' }],
    },
  ];
}
