import { setTimeout as delay } from 'node:timers/promises';
import type { TrustStage } from '../../src/core/trust.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import { dropSoonMs, reloadMs } from './cluster.ts';
import { mustNodecertd, nodecertd } from './kubeadm-rollover.ts';
import { pretendTimeService } from './node.ts';
import type { Report } from './scenario.ts';

/**
 * The running agent of each node. It keeps the client certificate of the kubelet, which reads its CAs from
 * a file, so that no kubelet restarts in a rollover.
 */
export class NodeAgents {
  readonly #nodes: readonly KubeadmNode[];
  readonly #report: Report;

  private constructor(nodes: readonly KubeadmNode[], report: Report) {
    this.#nodes = nodes;
    this.#report = report;
  }

  static async start(cluster: KubeadmCluster, report: Report): Promise<NodeAgents> {
    await Promise.all(cluster.nodes.map(adopt));
    await cluster.untilReady();
    report('each node has an agent, and its kubelet is adopted');
    // Further nodes may join the cluster.
    return new NodeAgents([...cluster.nodes], report);
  }

  /** Until each kubelet uses both CAs. */
  async union(): Promise<void> {
    await this.#untilStage('adding', 'union');
    this.#report('every kubelet reads its files again');
    await delay(reloadMs);
    await this.#untilStage('union');
  }

  /** A new client certificate for each kubelet, without the spread. */
  async reissue(): Promise<void> {
    await this.#each(async (node) => void (await mustNodecertd(node, ['renew', 'kubelet-client'])));
    await this.#untilStage('reissued');
  }

  /** Until the agents know that the cluster no longer has the old CA. */
  async finish(): Promise<void> {
    await this.#untilStage('dropping');
  }

  /** When the cluster has lacked the CA for `trust.dropAfter`. */
  async drop(fingerprint: string, since: number): Promise<void> {
    await delay(Math.max(0, since + dropSoonMs - Date.now()));
    await this.#each(async (node) => {
      await mustNodecertd(node, ['trust', 'drop', fingerprint, '--yes']);
    });
    await this.#untilStage('single');
  }

  async #untilStage(...stages: readonly TrustStage[]): Promise<void> {
    await this.#each(async (node) => {
      let last = '';
      const isReached = async (): Promise<true | undefined> => {
        const { stdout, stderr } = await nodecertd(node, ['trust', 'sync', '--output', 'json']);
        if (stdout === '') throw new Error(`${node.name}: ${stderr}`);
        last = stdout;
        const { stage } = JSON.parse(stdout) as { readonly stage: TrustStage };
        return stages.includes(stage) || undefined;
      };
      const what = `${node.name} in the stage ${stages.join(' or ')}`;
      await node.container.until(what, isReached, 300_000).catch((error: unknown) => {
        throw new Error(last, { cause: error });
      });
    });
  }

  /** One after the other: each command needs a second of the processor. */
  async #each(work: (node: KubeadmNode) => Promise<void>): Promise<void> {
    for (const node of this.#nodes) await work(node);
  }
}

/** As a service, which the package installs in the same way. */
async function adopt({ container }: KubeadmNode): Promise<void> {
  await container.write('/etc/nodecertd/config.yaml', configuration);
  await pretendTimeService(container);
  const service = ['Type=notify', 'NotifyAccess=main', 'Restart=always'];
  const folders = ['StateDirectory=nodecertd', 'RuntimeDirectory=nodecertd', 'UMask=0077'];
  const properties = [...service, ...folders].map((property) => `--property=${property}`);
  const command = ['/usr/local/bin/nodecertd', 'run', '--config', '/etc/nodecertd/config.yaml'];
  await container.must('systemd-run', '--unit=nodecertd', ...properties, ...command);
  await container.must('nodecertd', 'adopt', '--yes', '--restart');
}

const configuration = `apiVersion: nodecertd.io/v1alpha1
kind: AgentConfiguration
certificates:
  - name: kubelet-client
    profile: kubelet-client
trust:
  enabled: true
  externalize: true
  spread: 10s
  dropAfter: 10m
`;
