import { X509Certificate, createHash } from 'node:crypto';
import { stringify } from 'yaml';
import type { NodePlace } from './kubeadm-node.ts';
import { kubernetesVersion } from './programs.ts';

/** The name of all API servers of the cluster, in /etc/hosts of each node. */
export const apiName = 'api.cluster.test';
const endpoint = `${apiName}:6443`;

export interface JoinSecrets {
  /** A bootstrap token. */
  readonly token: string;
  /** Encrypts the certificates that kubeadm uploads for further control-plane nodes. */
  readonly certificateKey: string;
}

type Keys = Readonly<Record<string, unknown>>;

const kubeadm = (kind: string, keys: Keys): Keys => ({
  apiVersion: 'kubeadm.k8s.io/v1beta4',
  kind,
  ...keys,
});

const registration = (address: string): Keys => ({
  criSocket: 'unix:///run/containerd/containerd.sock',
  imagePullPolicy: 'IfNotPresent',
  kubeletExtraArgs: [{ name: 'node-ip', value: address }],
});

/** Without kube-proxy and CoreDNS, which need images that are not built. */
const clusterConfiguration = kubeadm('ClusterConfiguration', {
  clusterName: 'test',
  kubernetesVersion: kubernetesVersion(),
  controlPlaneEndpoint: endpoint,
  dns: { disabled: true },
  proxy: { disabled: true },
  networking: { podSubnet: '10.244.0.0/16', serviceSubnet: '10.96.0.0/16' },
});

/** A node may be on version 1 of control groups, with swap, and with an almost full disk. */
const kubeletConfiguration: Keys = {
  apiVersion: 'kubelet.config.k8s.io/v1beta1',
  kind: 'KubeletConfiguration',
  cgroupDriver: 'cgroupfs',
  failCgroupV1: false,
  failSwapOn: false,
  imageGCHighThresholdPercent: 100,
  evictionHard: { 'imagefs.available': '0%', 'nodefs.available': '0%', 'nodefs.inodesFree': '0%' },
};

export interface InitParts {
  readonly node: NodePlace;
  readonly secrets: JoinSecrets;
  /** Overrides keys of the ClusterConfiguration. */
  readonly configuration?: Keys;
}

export function initConfiguration({ node, secrets, configuration }: InitParts): string {
  const init = kubeadm('InitConfiguration', {
    bootstrapTokens: [{ token: secrets.token, ttl: '0s' }],
    certificateKey: secrets.certificateKey,
    localAPIEndpoint: { advertiseAddress: node.address },
    nodeRegistration: registration(node.address),
  });
  const documents = [init, { ...clusterConfiguration, ...configuration }, kubeletConfiguration];
  return documents.map((document) => stringify(document)).join('---\n');
}

export interface JoinParts {
  readonly node: NodePlace;
  readonly secrets: JoinSecrets;
  readonly caPem: string;
}

export function joinConfiguration({ node, secrets, caPem }: JoinParts): string {
  const { token, certificateKey } = secrets;
  const discovery = { token, apiServerEndpoint: endpoint, caCertHashes: [pin(caPem)] };
  const controlPlane = {
    certificateKey,
    localAPIEndpoint: { advertiseAddress: node.address },
  };
  return stringify(
    kubeadm('JoinConfiguration', {
      discovery: { bootstrapToken: discovery },
      nodeRegistration: registration(node.address),
      ...(node.role === 'control-plane' && { controlPlane }),
    }),
  );
}

/** kubeadm pins a CA by the digest of its public key. */
function pin(caPem: string): string {
  const key = new X509Certificate(caPem).publicKey.export({ type: 'spki', format: 'der' });
  return `sha256:${createHash('sha256').update(key).digest('hex')}`;
}
