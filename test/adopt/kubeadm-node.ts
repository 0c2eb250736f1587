import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { parseKubeletFlags } from '../../src/kubelet/flags.ts';
import type { KubeletStart } from '../../src/kubelet/start.ts';
import type { AdoptionRequest } from '../../src/adopt/adoption.ts';
import { gatherFacts } from '../../src/adopt/facts.ts';
import type { AdoptionFacts } from '../../src/adopt/facts.ts';
import type { Tree } from '../../src/sys/tree.ts';
import { kubeletServingSigner, nodeSubject } from '../../src/core/certificate-spec.ts';
import type { CertificateSpec } from '../../src/core/certificate-spec.ts';
import type { AgentConfig } from '../../src/core/config.ts';
import { day } from '../../src/core/instant.ts';
import { agentConfig, clientSpec } from '../keeper/fixtures.ts';
import { base64 } from '../kube/support/api-server.ts';
import type { TestPair } from '../store/pairs.ts';
import { makePair, present } from '../store/pairs.ts';
import { FakeClock } from '../support/fake-clock.ts';
import type { NodeFiles } from './node-files.ts';
import { nodeTree } from './node-files.ts';

export const kubeletClient: CertificateSpec = { ...clientSpec, subject: nodeSubject('n1') };
export const kubeletServer: CertificateSpec = {
  ...kubeletClient,
  name: 'kubelet-server',
  profile: 'kubelet-serving',
  signerName: kubeletServingSigner,
  usages: ['digital signature', 'server auth'],
  addresses: 'node',
  selfSignedUntilIssued: true,
};

/** The agent of a node of kubeadm, with every default. */
export const nodeConfig: AgentConfig = {
  ...agentConfig('', [kubeletClient, kubeletServer]),
  nodeName: 'n1',
  kubeconfig: '/etc/kubernetes/kubelet.conf',
  bootstrapKubeconfig: '/etc/kubernetes/bootstrap-kubelet.conf',
  certificateDirectory: '/var/lib/kubelet/pki',
  stateDirectory: '/var/lib/nodecertd',
  kubelet: {
    configFile: '/var/lib/kubelet/config.yaml',
    certificateDirectory: '/var/lib/kubelet/pki',
    deferToKubelet: true,
  },
};

export const clientLink = '/var/lib/kubelet/pki/kubelet-client-current.pem';
export const serverLink = '/var/lib/kubelet/pki/kubelet-server-current.pem';
export const configFile = '/var/lib/kubelet/config.yaml';
export const dropIns = '/etc/kubernetes/kubelet.conf.d';
export const kubeconfigFile = '/etc/kubernetes/kubelet.conf';

/** As kubeadm writes it. */
export const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
authentication:
  x509:
    clientCAFile: /etc/kubernetes/pki/ca.crt
clusterDNS:
- 10.96.0.10
kind: KubeletConfiguration
rotateCertificates: true
staticPodPath: /etc/kubernetes/manifests
`;

export function kubeconfigOf(user: readonly string[]): string {
  return `apiVersion: v1
clusters:
- cluster:
    server: https://10.0.0.1:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: system:node:n1
  name: system:node:n1@kubernetes
current-context: system:node:n1@kubernetes
kind: Config
users:
- name: system:node:n1
  user:
${user.map((line) => `    ${line}\n`).join('')}`;
}

/** The kubeconfig of kubeadm init before its last phase, or of a node that was joined by hand. */
export function embedding({ certificatePem, keyPem }: TestPair): string {
  return kubeconfigOf([
    `client-certificate-data: ${base64(certificatePem.toString())}`,
    `client-key-data: ${base64(keyPem.toString())}`,
  ]);
}

export const following = kubeconfigOf([
  `client-certificate: ${clientLink}`,
  `client-key: ${clientLink}`,
]);

export interface KubeadmNode {
  readonly tree: Tree;
  readonly pair: TestPair;
  readonly facts: (config?: AgentConfig) => Promise<AdoptionFacts>;
}

/** The kubelet of a kubeadm node, with additional flags. */
export function startOf(...flags: readonly string[]): KubeletStart {
  const words = [
    '--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf',
    `--kubeconfig=${kubeconfigFile}`,
    `--config=${configFile}`,
    ...flags,
  ];
  return {
    source: 'service',
    commandLine: 'kubelet.service',
    unit: 'kubelet.service',
    flags: parseKubeletFlags(words),
    workingDirectory: '/',
    variables: ['KUBELET_KUBEADM_ARGS'],
    files: [],
  };
}

/**
 * A node that kubeadm joined, with the key pairs of the agent. Files can be
 * replaced and added; an empty text deletes one.
 */
export async function kubeadmNode(
  context: TestContext,
  files: NodeFiles = {},
  kubelet: KubeletStart = startOf(),
): Promise<KubeadmNode> {
  const [pair, serving] = await Promise.all([makePair(), makePair({ selfSigned: true })]);
  const all: NodeFiles = {
    '/etc/hostname': 'n1\n',
    [configFile]: kubeletConfig,
    [kubeconfigFile]: embedding(pair),
    ...files,
  };
  const present = Object.entries(all).filter(([, content]) => content !== '');
  const tree = await nodeTree(context, Object.fromEntries(present));
  await storePair(tree, 'kubelet-client', pair);
  await storePair(tree, 'kubelet-server', serving);
  return { tree, pair, facts: (config = nodeConfig) => factsOf(tree, config, kubelet) };
}

/** A request for such a node. */
export function requestFor(
  tree: Tree,
  { clock = new FakeClock(present), kubelet = startOf() } = {},
): AdoptionRequest {
  const { signal } = new AbortController();
  const findKubelet = async (): Promise<KubeletStart> => kubelet;
  return { tree, config: nodeConfig, findKubelet, hostName: 'n1', clock, version: '0.1.0', signal };
}

export async function storePair(tree: Tree, name: string, { pem }: TestPair): Promise<void> {
  const folder = '/var/lib/kubelet/pki';
  const file = `${folder}/${name}-2026-06-01-00-00-00.pem`;
  await mkdir(join(tree.root, folder), { recursive: true });
  await writeFile(join(tree.root, file), pem, { mode: 0o600 });
  await symlink(file, join(tree.root, folder, `${name}-current.pem`));
}

async function factsOf(
  tree: Tree,
  config: AgentConfig,
  kubelet: KubeletStart,
): Promise<AdoptionFacts> {
  return gatherFacts({ ...requestFor(tree, { kubelet }), config, now: present });
}

/** The same node as this machine, with a running kubelet. */
export function live(facts: AdoptionFacts, changes: Partial<AdoptionFacts> = {}): AdoptionFacts {
  const running = { pid: 7, ageMs: day };
  return { ...facts, live: true, agentPid: 9, kubelet: { ...facts.kubelet, running }, ...changes };
}

const head = 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n';

/** The configuration of an adopted kubelet. */
export const adoptedConfig = `${head}rotateCertificates: false
serverTLSBootstrap: false
tlsCertFile: ${serverLink}
tlsPrivateKeyFile: ${serverLink}
`;
