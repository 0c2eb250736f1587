import { X509Certificate } from 'node:crypto';
import { readFile, readlink } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parse, stringify } from 'yaml';
import { hasErrno } from '../../src/core/errors.ts';
import { parsePair } from '../support/agent.ts';
import type { ClusterCa } from '../support/cluster-pki.ts';
import { builtPackage } from '../support/built-packages.ts';
import { bootKubeletNode, untilReady } from '../support/kubelet-node.ts';
import type { Container, Ended } from '../support/nspawn.ts';
import type { RealControlPlane } from '../support/real-control-plane.ts';
import type { SingleRequest } from '../support/single-request.ts';

export interface NodeOptions {
  readonly name: string;
  readonly address: string;
  readonly plane: RealControlPlane;
  /** How the kubelet's kubeconfig has the CA: kubeadm embeds it. */
  readonly authority: 'file' | 'embedded';
  /** Overrides keys of `trust` in the configuration of the agent. */
  readonly trust?: Readonly<Record<string, unknown>>;
}

const bootstrapFile = '/etc/kubernetes/bootstrap-kubelet.conf';
const kubeconfigFile = '/etc/kubernetes/kubelet.conf';
export const caFile = '/etc/kubernetes/pki/ca.crt';
const kubelet = 'kubelet.service';
const agent = 'nodecertd.service';

/** A node with a real kubelet that has joined, and with the package. Its agent is not started. */
export class RolloverNode implements AsyncDisposable {
  readonly name: string;
  readonly address: string;
  readonly container: Container;

  private constructor({ name, address }: NodeOptions, container: Container) {
    this.name = name;
    this.address = address;
    this.container = container;
  }

  static async boot(options: NodeOptions): Promise<RolloverNode> {
    const { name, address, plane, authority } = options;
    const container = await bootKubeletNode({
      nodeName: name,
      port: 10_250,
      controlPlane: plane,
      configuration: { address },
      flags: `--node-ip=${address}`,
    });
    const node = new RolloverNode(options, container);
    try {
      if (authority === 'file') await node.#nameAuthorityInBootstrap();
      await node.#install(options);
      await container.must('systemctl', 'enable', '--now', kubelet);
      await untilReady(container, { nodeName: name, controlPlane: plane });
      return node;
    } catch (error) {
      await node[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Takes over the certificates of the kubelet. */
  async adopt(): Promise<void> {
    await this.startAgent();
    await this.container.must('nodecertd', 'adopt', '--yes', '--restart');
  }

  async startAgent(): Promise<void> {
    await this.container.must('systemctl', 'enable', '--now', agent);
  }

  async restartAgent(): Promise<void> {
    await this.container.must('systemctl', 'restart', agent);
  }

  async stopAgent(): Promise<void> {
    await this.container.must('systemctl', 'stop', agent);
  }

  async nodecertd(...args: readonly string[]): Promise<Ended> {
    return this.container.run('nodecertd', ...args);
  }

  async kubeletPid(): Promise<string> {
    return this.container.property(kubelet, 'MainPID');
  }

  async kubeletStarts(): Promise<number> {
    return Number(await this.container.property(kubelet, 'NRestarts'));
  }

  /** Reads the kubeconfig of the kubelet and the files that it names, as a new client does. */
  async credentials(): Promise<SingleRequest> {
    const config = parse(await this.read(kubeconfigFile)) as Kubeconfig;
    const { cluster } = config.clusters[0];
    const { user } = config.users[0];
    const caPem = await this.#text(
      cluster['certificate-authority'],
      cluster['certificate-authority-data'],
    );
    const certificatePem = await this.#text(
      user['client-certificate'],
      user['client-certificate-data'],
    );
    const keyPem = await this.#text(user['client-key'], user['client-key-data']);
    return {
      url: `${cluster.server}/api/v1/nodes/${this.name}`,
      caPem,
      pair: { certificatePem, keyPem },
    };
  }

  /** The current certificate of a pair that the kubelet uses. */
  async leaf(name: 'kubelet-client' | 'kubelet-server'): Promise<X509Certificate> {
    return parsePair(await this.read(`/var/lib/kubelet/pki/${name}-current.pem`));
  }

  /** Which of its leaves this CA has signed. */
  async leavesBy({ certificatePem }: ClusterCa): Promise<readonly string[]> {
    const { publicKey } = new X509Certificate(certificatePem);
    const names = ['kubelet-client', 'kubelet-server'] as const;
    const leaves = await Promise.all(names.map(async (name) => this.leaf(name)));
    return names.filter((_, index) => leaves[index]?.verify(publicKey));
  }

  /** Follows links inside the container: on the host, an absolute link leads to the host's files. */
  async read(path: string): Promise<string> {
    try {
      return await this.read(resolve(dirname(path), await readlink(this.container.path(path))));
    } catch (error) {
      if (!hasErrno(error, 'EINVAL')) throw error;
      return readFile(this.container.path(path), 'utf8');
    }
  }

  async #text(file: string | undefined, data: string | undefined): Promise<string> {
    return file === undefined ? Buffer.from(data ?? '', 'base64').toString() : this.read(file);
  }

  /** The kubelet writes its kubeconfig with the CA of the bootstrap kubeconfig, in the same form. */
  async #nameAuthorityInBootstrap(): Promise<void> {
    const config = parse(await this.container.read(bootstrapFile)) as Kubeconfig;
    const { 'certificate-authority-data': _, ...cluster } = config.clusters[0].cluster;
    config.clusters[0].cluster = { ...cluster, 'certificate-authority': caFile };
    await this.container.write(bootstrapFile, stringify(config), 0o600);
  }

  async #install({ name, address, trust }: NodeOptions): Promise<void> {
    const { container } = this;
    await container.must('apt-get', 'install', '--yes', await container.take(builtPackage.file));
    const configuration = {
      apiVersion: 'nodecertd.io/v1alpha1',
      kind: 'AgentConfiguration',
      nodeName: name,
      bootstrapKubeconfig: bootstrapFile,
      certificates: [
        { name: 'kubelet-client', profile: 'kubelet-client' },
        {
          name: 'kubelet-server',
          profile: 'kubelet-serving',
          served: { endpoints: [`${address}:10250`] },
        },
      ],
      // Several agents share one network here.
      metrics: { address: '127.0.0.1:0' },
      ...(trust !== undefined && { trust: { enabled: true, ...trust } }),
    };
    await container.write('/etc/nodecertd/config.yaml', stringify(configuration));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.container[Symbol.asyncDispose]();
  }
}

/** The used fields, as kubelets and kubeadm write them. */
interface Kubeconfig {
  readonly clusters: readonly [{ cluster: KubeconfigCluster }];
  readonly users: readonly [{ readonly user: Readonly<Record<string, string | undefined>> }];
}

interface KubeconfigCluster {
  readonly server: string;
  readonly 'certificate-authority'?: string;
  readonly 'certificate-authority-data'?: string;
}
