import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { stringify } from 'yaml';
import { temporaryDirectory } from '../../store/pairs.ts';

interface Mount {
  readonly name: string;
  readonly path: string;
  readonly type: 'DirectoryOrCreate' | 'FileOrCreate';
}

export interface PodOptions {
  readonly name: string;
  readonly command: readonly string[];
  readonly mounts?: readonly Mount[];
  readonly container?: Readonly<Record<string, unknown>>;
  readonly spec?: Readonly<Record<string, unknown>>;
}

/** A static pod in the shape that kubeadm 1.37 writes. */
export function pod({ name, command, mounts = [], container = {}, spec = {} }: PodOptions): object {
  const probe = {
    httpGet: { host: '127.0.0.1', path: '/livez', port: 'probe-port', scheme: 'HTTPS' },
  };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      annotations: {
        'kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint': '10.0.0.5:6443',
      },
      labels: { component: name, tier: 'control-plane' },
      name,
      namespace: 'kube-system',
    },
    spec: {
      containers: [
        {
          command,
          image: `registry.k8s.io/${name}:v1.37.2`,
          imagePullPolicy: 'IfNotPresent',
          livenessProbe: { ...probe, failureThreshold: 8, timeoutSeconds: 15 },
          name,
          resources: { requests: { cpu: '100m' } },
          volumeMounts: mounts.map((mount) => ({
            mountPath: mount.path,
            name: mount.name,
            readOnly: true,
          })),
          ...container,
        },
      ],
      hostNetwork: true,
      priority: 2_000_001_000,
      priorityClassName: 'system-node-critical',
      securityContext: { seccompProfile: { type: 'RuntimeDefault' } },
      volumes: mounts.map(({ name, path, type }) => ({ hostPath: { path, type }, name })),
      ...spec,
    },
    status: {},
  };
}

const pki: Mount = { name: 'k8s-certs', path: '/etc/kubernetes/pki', type: 'DirectoryOrCreate' };
const file = (name: string): string => `/etc/kubernetes/pki/${name}`;

/** The four static pods of a control-plane node. */
export const kubeadmPods = {
  etcd: pod({
    name: 'etcd',
    command: [
      'etcd',
      '--advertise-client-urls=https://10.0.0.5:2379',
      `--cert-file=${file('etcd/server.crt')}`,
      '--client-cert-auth=true',
      '--data-dir=/var/lib/etcd',
      `--key-file=${file('etcd/server.key')}`,
      '--listen-client-urls=https://127.0.0.1:2379,https://10.0.0.5:2379',
      '--listen-metrics-urls=http://127.0.0.1:2381',
      '--listen-peer-urls=https://10.0.0.5:2380',
      '--name=cp1',
      `--peer-cert-file=${file('etcd/peer.crt')}`,
      '--peer-client-cert-auth=true',
      `--peer-key-file=${file('etcd/peer.key')}`,
      `--peer-trusted-ca-file=${file('etcd/ca.crt')}`,
      '--snapshot-count=10000',
      `--trusted-ca-file=${file('etcd/ca.crt')}`,
    ],
    mounts: [
      { name: 'etcd-data', path: '/var/lib/etcd', type: 'DirectoryOrCreate' },
      { name: 'etcd-certs', path: '/etc/kubernetes/pki/etcd', type: 'DirectoryOrCreate' },
    ],
  }),
  'kube-apiserver': pod({
    name: 'kube-apiserver',
    command: [
      'kube-apiserver',
      '--advertise-address=10.0.0.5',
      '--allow-privileged=true',
      '--authorization-mode=Node,RBAC',
      `--client-ca-file=${file('ca.crt')}`,
      '--enable-admission-plugins=NodeRestriction',
      '--enable-bootstrap-token-auth=true',
      `--etcd-cafile=${file('etcd/ca.crt')}`,
      `--etcd-certfile=${file('apiserver-etcd-client.crt')}`,
      `--etcd-keyfile=${file('apiserver-etcd-client.key')}`,
      '--etcd-servers=https://127.0.0.1:2379',
      `--kubelet-client-certificate=${file('apiserver-kubelet-client.crt')}`,
      `--kubelet-client-key=${file('apiserver-kubelet-client.key')}`,
      '--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname',
      `--proxy-client-cert-file=${file('front-proxy-client.crt')}`,
      `--proxy-client-key-file=${file('front-proxy-client.key')}`,
      '--requestheader-allowed-names=front-proxy-client',
      `--requestheader-client-ca-file=${file('front-proxy-ca.crt')}`,
      '--requestheader-username-headers=X-Remote-User',
      '--secure-port=6443',
      '--service-account-issuer=https://kubernetes.default.svc.cluster.local',
      `--service-account-key-file=${file('sa.pub')}`,
      `--service-account-signing-key-file=${file('sa.key')}`,
      '--service-cluster-ip-range=10.96.0.0/12',
      `--tls-cert-file=${file('apiserver.crt')}`,
      `--tls-private-key-file=${file('apiserver.key')}`,
    ],
    mounts: [{ name: 'ca-certs', path: '/etc/ssl/certs', type: 'DirectoryOrCreate' }, pki],
  }),
  'kube-controller-manager': pod({
    name: 'kube-controller-manager',
    command: [
      'kube-controller-manager',
      '--authentication-kubeconfig=/etc/kubernetes/controller-manager.conf',
      '--authorization-kubeconfig=/etc/kubernetes/controller-manager.conf',
      '--bind-address=127.0.0.1',
      `--client-ca-file=${file('ca.crt')}`,
      '--cluster-name=kubernetes',
      `--cluster-signing-cert-file=${file('ca.crt')}`,
      `--cluster-signing-key-file=${file('ca.key')}`,
      '--controllers=*,bootstrapsigner,tokencleaner',
      '--kubeconfig=/etc/kubernetes/controller-manager.conf',
      '--leader-elect=true',
      `--requestheader-client-ca-file=${file('front-proxy-ca.crt')}`,
      `--root-ca-file=${file('ca.crt')}`,
      `--service-account-private-key-file=${file('sa.key')}`,
      '--use-service-account-credentials=true',
    ],
    mounts: [
      pki,
      {
        name: 'kubeconfig',
        path: '/etc/kubernetes/controller-manager.conf',
        type: 'FileOrCreate',
      },
    ],
  }),
  'kube-scheduler': pod({
    name: 'kube-scheduler',
    command: [
      'kube-scheduler',
      '--authentication-kubeconfig=/etc/kubernetes/scheduler.conf',
      '--authorization-kubeconfig=/etc/kubernetes/scheduler.conf',
      '--bind-address=127.0.0.1',
      '--kubeconfig=/etc/kubernetes/scheduler.conf',
      '--leader-elect=true',
    ],
    mounts: [{ name: 'kubeconfig', path: '/etc/kubernetes/scheduler.conf', type: 'FileOrCreate' }],
  }),
} as const;

/** Writes manifests into a new directory. An object becomes YAML. */
export async function manifestDirectory(
  context: TestContext,
  manifests: Readonly<Record<string, object | string>>,
): Promise<string> {
  const directory = join(await temporaryDirectory(context), 'manifests');
  await mkdir(directory);
  for (const [name, content] of Object.entries(manifests)) {
    const text = typeof content === 'string' ? content : stringify(content);
    await writeFile(join(directory, name), text);
  }
  return directory;
}

/** The manifests of kubeadm, by file name. */
export function kubeadmManifests(): Record<string, object> {
  return Object.fromEntries(
    Object.entries(kubeadmPods).map(([name, content]) => [`${name}.yaml`, content]),
  );
}
