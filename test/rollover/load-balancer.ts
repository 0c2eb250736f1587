import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { ClusterOptions, KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import { bridgeAddress } from '../support/node-network.ts';
import { startIn } from './network-process.ts';

/** The API servers need a certificate for its address. */
export const balancedConfiguration: NonNullable<ClusterOptions['configuration']> = {
  apiServer: { certSANs: [bridgeAddress] },
};

/** One address for all API servers that are ready. */
export class LoadBalancer implements Disposable {
  readonly url = `https://${bridgeAddress}:6443`;
  readonly #child: ReturnType<typeof startIn>;
  readonly #waiting = new Map<string, () => void>();

  private constructor({ controlPlanes, network }: KubeadmCluster) {
    const addresses = controlPlanes.map(({ address }) => address);
    this.#child = startIn(network, 'load-balancer.process.ts', [bridgeAddress, ...addresses]);
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      this.#waiting.get(line)?.();
    });
  }

  static async start(cluster: KubeadmCluster): Promise<LoadBalancer> {
    const balancer = new LoadBalancer(cluster);
    await balancer.#until('listening');
    return balancer;
  }

  /** Takes the API server of a node out while something is done there, as an administrator does. */
  async without({ address }: KubeadmNode, work: () => Promise<void>): Promise<void> {
    await this.#command(`drain ${address}`);
    await work();
    await this.#command(`add ${address}`);
  }

  async #command(line: string): Promise<void> {
    const done = this.#until(line);
    this.#child.stdin.write(`${line}\n`);
    await done;
  }

  async #until(line: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const fail = (): void => reject(new Error('the load balancer has ended'));
    this.#waiting.set(line, resolve);
    (this.#child as ChildProcess).once('exit', fail);
    await promise;
    this.#child.off('exit', fail);
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }
}
