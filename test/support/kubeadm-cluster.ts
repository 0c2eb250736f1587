import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { createClusterDirectory, removeClusterDirectory } from './cluster-directory.ts';
import { nodeLayer, skipWithoutContainer } from './container-root.ts';
import { apiName, initConfiguration, joinConfiguration } from './kubeadm-configuration.ts';
import type { JoinSecrets } from './kubeadm-configuration.ts';
import { createNode } from './kubeadm-node.ts';
import type { KubeadmNode, NodePlace, NodeSurroundings } from './kubeadm-node.ts';
import { skipWithoutKubeadm } from './kubeadm.ts';
import { scaled } from './machine-speed.ts';
import { imageStore } from './node-images.ts';
import { createBridge, nodeAddress } from './node-network.ts';
import type { NetworkNamespace } from './node-network.ts';
import type { Container } from './nspawn.ts';
import { crictlProgram, isExecutable, skip, skipWithout } from './programs.ts';

export interface ClusterOptions {
  readonly controlPlanes: number;
  readonly workers: number;
  /** Overrides keys of kubeadm's ClusterConfiguration. */
  readonly configuration?: Readonly<Record<string, unknown>>;
  /** Folders and files of the host that the nodes may read, by their path on the nodes. */
  readonly mounts?: Readonly<Record<string, string>>;
  /** Gets a line for each step, with its duration. */
  readonly report?: (line: string) => void;
}

/**
 * Boots nodes, runs `kubeadm init` on the first and `kubeadm join` on the others, and
 * waits until all are Ready. The cluster has a network of its own without a route to the outside.
 */
export async function startKubeadmCluster(options: ClusterOptions): Promise<KubeadmCluster> {
  const cluster = await KubeadmCluster.create(options);
  try {
    await cluster.start();
    return cluster;
  } catch (error) {
    await cluster[Symbol.asyncDispose]();
    throw error;
  }
}

/** Problems of the machine, not of the cluster: version 1 of control groups, swap, few cores. */
const ignored = [
  'SystemVerification',
  'FileContent--proc-sys-net-bridge-bridge-nf-call-iptables',
  'Swap',
  'NumCPU',
  'Mem',
];

/** The pods of each control plane. */
export const staticPods = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler'];

/** In seconds. */
const limit = scaled(120);

/**
 * The control planes are control-plane-1 and so on, the workers worker-1 and so on.
 * Disposing kills all processes, which also end with this process, and removes all files.
 */
export class KubeadmCluster implements AsyncDisposable {
  readonly #options: ClusterOptions;
  /** All its files; see cluster-directory.ts. */
  readonly directory: string;
  #bridge: NetworkNamespace | undefined;
  readonly #nodes: KubeadmNode[] = [];
  readonly #secrets: JoinSecrets = {
    token: `${randomBytes(3).toString('hex')}.${randomBytes(8).toString('hex')}`,
    certificateKey: randomBytes(32).toString('hex'),
  };

  readonly #removeFiles = (): void => {
    removeClusterDirectory(this.directory);
  };

  private constructor(options: ClusterOptions, directory: string) {
    this.#options = options;
    this.directory = directory;
  }

  /** Creates the folder of a cluster without nodes. */
  static async create(options: ClusterOptions): Promise<KubeadmCluster> {
    return new KubeadmCluster(options, createClusterDirectory());
  }

  /** The network between the nodes, in which a program of the host can reach all of them. */
  get network(): NetworkNamespace {
    if (this.#bridge === undefined) throw new Error('the cluster has no network yet');
    return this.#bridge;
  }

  get nodes(): readonly KubeadmNode[] {
    return this.#nodes;
  }

  get controlPlanes(): readonly KubeadmNode[] {
    return this.#nodes.filter(({ role }) => role === 'control-plane');
  }

  get workers(): readonly KubeadmNode[] {
    return this.#nodes.filter(({ role }) => role === 'worker');
  }

  node(name: string): KubeadmNode {
    const found = this.#nodes.find((node) => node.name === name);
    if (found === undefined) throw new Error(`the cluster has no node ${name}`);
    return found;
  }

  /** Boots another node, which has not joined the cluster. */
  async bootNode(role: NodePlace['role']): Promise<KubeadmNode> {
    const count = this.#nodes.filter((node) => node.role === role).length;
    const [place] = places(role, count + 1).slice(-1);
    if (place === undefined) throw new Error('unreachable');
    const surroundings = this.#surroundings([...this.#nodes, place]);
    const node = await createNode(place, surroundings);
    this.#nodes.push(node);
    await node.container.start();
    return node;
  }

  async start(): Promise<void> {
    process.once('exit', this.#removeFiles);
    const places = nodePlaces(this.#options);
    await this.#step('boot the nodes', async () => this.#boot(places));
    const [first, ...others] = this.#nodes;
    if (first === undefined) throw new Error('a cluster needs a control plane');
    await this.#step(`kubeadm init on ${first.name}`, async () => this.#init(first));
    const caPem = await first.container.read('/etc/kubernetes/pki/ca.crt');
    // kubeadm adds one etcd member at a time.
    for (const node of others.filter(({ role }) => role === 'control-plane')) {
      await this.#step(`kubeadm join on ${node.name}`, async () => this.#join(node, caPem));
    }
    await Promise.all(
      this.workers.map(async (node) =>
        this.#step(`kubeadm join on ${node.name}`, async () => this.#join(node, caPem)),
      ),
    );
    await this.#step('all nodes Ready', async () => this.untilReady());
  }

  /** Runs kubectl as the administrator, on a control plane that is switched on. */
  async kubectl(...args: readonly string[]): Promise<string> {
    return this.#administered.must('kubectl', ...args);
  }

  /**
   * Waits until every Node is Ready and every static pod runs. For 40 seconds after a node
   * is switched off, the API server shows its last state.
   */
  async untilReady(): Promise<void> {
    await this.kubectl('wait', '--for=condition=Ready', '--all', `--timeout=${limit}s`, 'nodes');
    const running = ['--field-selector=status.phase=Running', '--output=name'];
    const expected = this.controlPlanes.length * staticPods.length;
    const allRun = async (): Promise<true | undefined> => {
      const names = await this.kubectl('get', 'pods', '--namespace=kube-system', ...running);
      return names.split('\n').filter(Boolean).length >= expected || undefined;
    };
    await this.#administered.until('static pods that run', allRun, limit * 1_000);
  }

  get #administered(): Container {
    const node = this.controlPlanes.find(({ container }) => container.running);
    if (node === undefined) throw new Error('no control plane is switched on');
    return node.container;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#nodes.map(async ({ container }) => container.kill()));
    await Promise.all(this.#nodes.map(async ({ network }) => network[Symbol.asyncDispose]()));
    await this.#bridge?.[Symbol.asyncDispose]();
    process.removeListener('exit', this.#removeFiles);
    this.#removeFiles();
  }

  async #boot(places: readonly NodePlace[]): Promise<void> {
    this.#bridge = await createBridge(this.directory);
    const surroundings = this.#surroundings(places);
    for (const place of places) this.#nodes.push(await createNode(place, surroundings));
    await Promise.all(this.#nodes.map(async ({ container }) => container.start()));
  }

  #surroundings(places: readonly NodePlace[]): NodeSurroundings {
    const { directory, network: bridge } = this;
    const { mounts = {} } = this.#options;
    return { directory, bridge, hosts: hosts(places), mounts };
  }

  async #init(node: KubeadmNode): Promise<void> {
    const { configuration = {} } = this.#options;
    const text = initConfiguration({ node, secrets: this.#secrets, configuration });
    await this.#kubeadm(node, text, ['init', '--upload-certs']);
  }

  async #join(node: KubeadmNode, caPem: string): Promise<void> {
    const text = joinConfiguration({ node, secrets: this.#secrets, caPem });
    await this.#kubeadm(node, text, ['join']);
  }

  async #kubeadm(
    { container }: KubeadmNode,
    configuration: string,
    command: readonly string[],
  ): Promise<void> {
    const file = '/opt/kubeadm.yaml';
    await container.write(file, configuration, 0o600);
    const flags = [`--config=${file}`, `--ignore-preflight-errors=${ignored.join(',')}`];
    await container.must('kubeadm', ...command, ...flags);
  }

  async #step(what: string, work: () => Promise<void>): Promise<void> {
    const start = performance.now();
    await work();
    const seconds = (performance.now() - start) / 1_000;
    this.#options.report?.(`${what}: ${seconds.toFixed(1)} s`);
  }
}

function nodePlaces({ controlPlanes, workers }: ClusterOptions): NodePlace[] {
  return [...places('control-plane', controlPlanes), ...places('worker', workers)];
}

function places(role: NodePlace['role'], count: number): NodePlace[] {
  return Array.from({ length: count }, (_, index) => ({
    name: `${role}-${index + 1}`,
    role,
    address: nodeAddress(role, index),
  }));
}

/** A client of Go tries the addresses of a name in turn, which replaces a load balancer. */
function hosts(places: readonly NodePlace[]): string {
  const lines = places.flatMap(({ name, role, address }) => [
    `${address} ${name}`,
    ...(role === 'control-plane' ? [`${address} ${apiName}`] : []),
  ]);
  return ['127.0.0.1 localhost', ...lines, ''].join('\n');
}

/** For the `skip` option of a test. @throws in CI, where no test may be skipped */
export function skipWithoutKubeadmCluster(): string | false {
  const reason = skipWithoutContainer() || skipWithoutKubeadm() || skipWithout('ip');
  if (reason !== false) return reason;
  const parts = [nodeLayer(), imageStore()].every(existsSync) && isExecutable(crictlProgram());
  return parts ? false : skip('tests on a kubeadm cluster: not built (make kubeadm-node)');
}
