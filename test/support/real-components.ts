import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { auditPolicy } from './audit-log.ts';
import { createClusterCa, createSigningKey } from './cluster-pki.ts';
import type { ClusterCa, KeyPair, LeafRequest } from './cluster-pki.ts';
import { freePorts } from './free-ports.ts';

/** The files and ports of etcd, kube-apiserver and kube-controller-manager. */
export interface ClusterFiles {
  readonly directory: string;
  readonly server: string;
  readonly caPem: string;
  readonly admin: KeyPair;
  readonly ports: {
    readonly etcdClient: number;
    readonly etcdPeer: number;
    readonly api: number;
    readonly controllers: number;
  };
}

export const apiServerLeaf: LeafRequest = {
  commonName: 'kube-apiserver',
  organizations: [],
  usage: 'server auth',
  altNames: [
    { type: 'ip', value: '127.0.0.1' },
    { type: 'dns', value: 'localhost' },
    { type: 'dns', value: 'kubernetes.default.svc' },
  ],
};

export const adminLeaf: LeafRequest = {
  commonName: 'admin',
  organizations: ['system:masters'],
  usage: 'client auth',
};

export const controllerManagerLeaf: LeafRequest = {
  commonName: 'system:kube-controller-manager',
  organizations: [],
  usage: 'client auth',
};

/** How the API server identifies itself to kubelets. */
export const kubeletClientLeaf: LeafRequest = {
  commonName: 'kube-apiserver-kubelet-client',
  organizations: ['system:masters'],
  usage: 'client auth',
};

export async function createClusterFiles(
  directory: string,
  clusterCa?: ClusterCa,
): Promise<ClusterFiles> {
  const [ca, signingKey, ports] = await Promise.all([
    clusterCa ?? createClusterCa(),
    createSigningKey(),
    freePorts(4),
  ]);
  const [etcdClient = 0, etcdPeer = 0, api = 0, controllers = 0] = ports;
  const server = `https://127.0.0.1:${api}`;
  const serving = await ca.issue(apiServerLeaf);
  const admin = await ca.issue(adminLeaf);
  const manager = await ca.issue(controllerManagerLeaf);
  const kubeletClient = await ca.issue(kubeletClientLeaf);
  const files: Readonly<Record<string, string>> = {
    'ca.crt': ca.certificatePem,
    'client-ca.crt': ca.certificatePem,
    'signer.crt': ca.certificatePem,
    'signer.key': ca.keyPem,
    'apiserver.crt': serving.certificatePem,
    'apiserver.key': serving.keyPem,
    'apiserver-kubelet-client.crt': kubeletClient.certificatePem,
    'apiserver-kubelet-client.key': kubeletClient.keyPem,
    'kubelet-ca.crt': ca.certificatePem,
    'service-accounts.pub': signingKey.publicPem,
    'service-accounts.key': signingKey.privatePem,
    'audit-policy.yaml': auditPolicy,
    'admin.conf': kubeconfig({ server, caPem: ca.certificatePem, user: keyPairUser(admin) }),
    'controller-manager.conf': kubeconfig({
      server,
      caPem: ca.certificatePem,
      user: keyPairUser(manager),
    }),
  };
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(directory, name), text, { mode: 0o600 });
  }
  return {
    directory,
    server,
    caPem: ca.certificatePem,
    admin,
    ports: { etcdClient, etcdPeer, api, controllers },
  };
}

export function etcdArgs({ directory, ports }: ClusterFiles): string[] {
  const client = `http://127.0.0.1:${ports.etcdClient}`;
  const peer = `http://127.0.0.1:${ports.etcdPeer}`;
  return [
    `--data-dir=${join(directory, 'etcd')}`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=default=${peer}`,
    // The data does not have to survive a crash of the machine.
    '--unsafe-no-fsync',
    '--log-level=warn',
  ];
}

export function apiServerArgs({ directory, ports }: ClusterFiles, auditLog: string): string[] {
  const file = (name: string): string => join(directory, name);
  return [
    `--etcd-servers=http://127.0.0.1:${ports.etcdClient}`,
    '--bind-address=127.0.0.1',
    // The endpoints of the service "kubernetes" cannot be on loopback, and no test
    // reads them.
    '--endpoint-reconciler-type=none',
    `--secure-port=${ports.api}`,
    `--tls-cert-file=${file('apiserver.crt')}`,
    `--tls-private-key-file=${file('apiserver.key')}`,
    `--client-ca-file=${file('client-ca.crt')}`,
    `--kubelet-client-certificate=${file('apiserver-kubelet-client.crt')}`,
    `--kubelet-client-key=${file('apiserver-kubelet-client.key')}`,
    `--kubelet-certificate-authority=${file('kubelet-ca.crt')}`,
    '--authorization-mode=Node,RBAC',
    '--enable-bootstrap-token-auth',
    '--enable-admission-plugins=NodeRestriction',
    '--service-cluster-ip-range=10.96.0.0/24',
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-key-file=${file('service-accounts.pub')}`,
    `--service-account-signing-key-file=${file('service-accounts.key')}`,
    `--audit-policy-file=${file('audit-policy.yaml')}`,
    `--audit-log-path=${auditLog}`,
    // In MB. By default, the API server begins another file after 100 MB.
    '--audit-log-maxsize=10000',
    '--profiling=false',
    '--shutdown-delay-duration=0',
  ];
}

const approver = 'certificatesigningrequest-approving-controller';

export interface ControllerOptions {
  readonly signingSeconds: number;
  readonly approving: boolean;
}

export function controllerManagerArgs(
  { directory, ports }: ClusterFiles,
  { signingSeconds, approving }: ControllerOptions,
): string[] {
  const file = (name: string): string => join(directory, name);
  const controllers = [
    'certificatesigningrequest-signing-controller',
    'certificatesigningrequest-cleaner-controller',
    'bootstrap-signer-controller',
    'token-cleaner-controller',
    'root-ca-certificate-publisher-controller',
    'kube-apiserver-serving-clustertrustbundle-publisher-controller',
    ...(approving ? [approver] : []),
  ];
  return [
    `--kubeconfig=${file('controller-manager.conf')}`,
    '--bind-address=127.0.0.1',
    `--secure-port=${ports.controllers}`,
    `--tls-cert-file=${file('apiserver.crt')}`,
    `--tls-private-key-file=${file('apiserver.key')}`,
    `--controllers=${controllers.join(',')}`,
    `--cluster-signing-cert-file=${file('signer.crt')}`,
    `--cluster-signing-key-file=${file('signer.key')}`,
    `--cluster-signing-duration=${signingSeconds}s`,
    // Without it, the approver uses the manager's identity, which may not approve.
    '--use-service-account-credentials=true',
    `--root-ca-file=${file('ca.crt')}`,
    '--leader-elect=false',
    '--profiling=false',
  ];
}

interface KubeconfigParts {
  readonly server: string;
  readonly caPem: string;
  readonly user: object;
}

export function kubeconfig({ server, caPem, user }: KubeconfigParts): string {
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server, 'certificate-authority-data': base64(caPem) } }],
    users: [{ name: 'test', user }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
    'current-context': 'test',
  });
}

export function keyPairUser({ certificatePem, keyPem }: KeyPair): Readonly<Record<string, string>> {
  return {
    'client-certificate-data': base64(certificatePem),
    'client-key-data': base64(keyPem),
  };
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
