import { stringify } from 'yaml';
import { kubeadmPods, pod } from '../../pki/components/manifests.ts';

/** Manifests of static pods, with a canary in the places where a secret may be. */
export function manifests(token: string): Uint8Array[] {
  const env = [
    { name: 'A', value: '/etc/kubernetes' },
    { name: 'TOKEN', value: token },
    { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
    { name: 'ETCD_CERT_FILE', value: '$(A)/pki/x.crt' },
  ];
  const etcd = pod({
    name: 'etcd',
    command: ['tini', '--', '/usr/local/bin/etcd'],
    container: {
      args: ['--key-file', '$(A)/pki/x.key', `--trusted-ca-file=${token}`, '--name=$(TOKEN)'],
      env,
      volumeMounts: [
        { name: 'a', mountPath: '/etc/kubernetes/pki', subPath: 'b/c' },
        { name: 'b', mountPath: '/etc', subPathExpr: '$(A)' },
      ],
    },
    spec: {
      volumes: [
        { name: 'a', hostPath: { path: '/srv' } },
        { name: 'b', emptyDir: {} },
      ],
    },
  });
  const shell = pod({ name: 'a', command: ['/bin/sh', '-c', `TOKEN=${token} exec kube-proxy`] });
  const yaml = [...Object.values(kubeadmPods), etcd, shell].map((object) => stringify(object));
  const anchors = `kind: Pod
metadata: &a {name: x, annotations: {token: ${token}}}
spec:
  containers: [&c {name: a, command: &d [kube-scheduler, --kubeconfig, /k]}, {<<: *c, args: *d}]
`;
  return [...yaml, JSON.stringify(kubeadmPods.etcd), anchors, `${yaml[3]}---\n${yaml[0]}`].map(
    (text) => Buffer.from(text),
  );
}

/** Command lines as in /proc/PID/cmdline. */
export function commandLines(token: string): Uint8Array[] {
  const lines = [
    ...Object.values(kubeadmPods).map(commandOf),
    ['kube-apiserver', '--tls-sni-cert-key=/x.crt,/x.key:a,*.b,10.0.0.1', '--tls_cert_file', '/y'],
    ['etcd', '-cert-file', '/x', '--listen-client-urls=https://[::]:2379,http://127.0.0.1:1'],
    ['hyperkube', 'apiserver', `--kubeconfig=/${token}`, '--bind-address', '::', '--', 'x'],
  ];
  return lines.map((words) => Buffer.from(words.join('\0')));
}

function commandOf(manifest: object): readonly string[] {
  const { spec } = manifest as {
    readonly spec: { readonly containers: readonly { readonly command: readonly string[] }[] };
  };
  return spec.containers[0]?.command ?? [];
}

/** Configuration files that flags of components name. */
export function componentConfigurations(token: string): Uint8Array[] {
  const tls = { caBundle: '/ca.crt', clientKey: '/c.key', clientCert: '/c.crt' };
  const url = `https://user:${token}@127.0.0.1`;
  return [
    {
      name: 'default',
      'listen-client-urls': 'https://127.0.0.1:2379',
      'client-transport-security': { 'cert-file': '/c.crt', 'key-file': '/c.key' },
      'peer-transport-security': { 'cert-file': '/p.crt', 'allowed-cn': [token] },
    },
    {
      kind: 'KubeProxyConfiguration',
      clientConnection: { kubeconfig: '/proxy.conf', acceptContentTypes: '', qps: 5 },
      conntrack: { min: null },
    },
    { egressSelections: [{ name: 'cluster', connection: { transport: { tcp: { url, tls } } } }] },
    { authorizers: [{ type: 'Webhook', webhook: { connectionInfo: { kubeConfigFile: '/a' } } }] },
    {
      plugins: [
        { name: 'a', path: 'config' },
        { name: 'b', path: '/none' },
        { name: 'c', configuration: { kubeConfigFile: '/b', token } },
      ],
    },
  ].flatMap((object) => [Buffer.from(stringify(object)), Buffer.from(JSON.stringify(object))]);
}
