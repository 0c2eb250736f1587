import assert from 'node:assert/strict';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import type { NodeAgents } from './kubeadm-agents.ts';
import {
  apply,
  copyFiles,
  mustApply,
  mustNodecertd,
  planOf,
  reissue,
  requireConsistent,
  requireNewCa,
  running,
  syncNodes,
  waitFor,
} from './kubeadm-rollover.ts';
import type { Report } from './scenario.ts';

export interface RolloverOptions {
  /** Of `apply trust`, `switch` and `finish`, and of `wait`: `--except` and `--pods-ok`. */
  readonly gates?: readonly string[];
  /** `--old` and `--new`, which `wait` and `verify` need if the new CA is the older one. */
  readonly named?: readonly string[];
  /** Otherwise an administrator does their part, and restarts the kubelets. */
  readonly agents?: NodeAgents;
}

interface Place {
  readonly cluster: KubeadmCluster;
  readonly report: Report;
}

/** A rollover of the kubernetes CA with `nodecertd ca-rollover apply`, on the nodes that run. */
export class AppliedRollover {
  /** In the order of the plan. */
  readonly nodes: readonly KubeadmNode[];
  readonly first: KubeadmNode;
  readonly #cluster: KubeadmCluster;
  readonly #report: Report;
  readonly #gates: readonly string[];
  readonly #named: readonly string[];
  readonly #agents: NodeAgents | undefined;
  /** A line of its file. */
  #oldKey: string | undefined;

  private constructor(
    nodes: readonly KubeadmNode[],
    { cluster, report, gates = [], named = [], agents }: RolloverOptions & Place,
  ) {
    const [first] = nodes;
    assert.ok(first !== undefined);
    this.nodes = nodes;
    this.first = first;
    this.#cluster = cluster;
    this.#report = report;
    this.#gates = gates;
    this.#named = named;
    this.#agents = agents;
  }

  static async plan(
    cluster: KubeadmCluster,
    report: Report,
    options: RolloverOptions = {},
  ): Promise<AppliedRollover> {
    const [any] = running(cluster.controlPlanes);
    assert.ok(any !== undefined);
    const steps = await planOf(any);
    const blocks = steps.find(({ id }) => id === 'switch')?.blocks ?? [];
    const nodes = running(blocks.map(({ node }) => cluster.node(node)));
    return new AppliedRollover(nodes, { cluster, report, ...options });
  }

  /** On the first node, whose files the others get. @param options of `create` */
  async create(...options: readonly string[]): Promise<void> {
    const oldKey = await this.first.container.must('sed', '-n', '2p', '/etc/kubernetes/pki/ca.key');
    await mustApply(this.first, this.#report, 'create', ...options);
    this.#oldKey = oldKey.trim();
    assert.equal(await this.#unsafeKeys(this.first), './pki/ca.key\n');
    await copyFiles(this.first, this.#cluster);
  }

  /** The control plane trusts both CAs. */
  async trust(): Promise<void> {
    await this.#applyOnEach('trust');
  }

  /** One stage back on each node. */
  async abort(): Promise<void> {
    await this.#applyOnEach('abort', '--clients-ok');
  }

  /** Until everything trusts both CAs. @param options of `wait` */
  async union(...options: readonly string[]): Promise<void> {
    await (this.#agents?.union() ?? syncNodes(this.#cluster));
    await this.#wait(['union', ...options].join(' '), this.first);
  }

  /** The control plane uses the new CA. */
  async switch(): Promise<void> {
    await this.#applyOnEach('switch');
  }

  /** Until nothing needs the old CA. */
  async reissue(): Promise<void> {
    await (this.#agents?.reissue() ?? reissue(this.#cluster));
    for (const node of this.nodes) await this.#wait('droppable', node);
  }

  /** So that G7 does not wait six minutes: kube-apiserver reads its client certificate for kubelets again. */
  async restartServers(): Promise<void> {
    await this.onEach(restartServer);
  }

  async finish(): Promise<void> {
    await this.#applyOnEach('finish', '--clients-ok', '--old-key', 'destroy');
    await (this.#agents?.finish() ?? syncNodes(this.#cluster));
    await requireNewCa(this.#cluster);
    for (const node of this.nodes) assert.equal(await this.#unsafeKeys(node), '', node.name);
  }

  /** Every node works, and the cluster has one CA. */
  async requireGreen(): Promise<void> {
    await this.#cluster.untilReady();
    await mustNodecertd(this.first, ['ca-rollover', 'status']);
  }

  /** Runs a script on each node. */
  async onEach(script: string): Promise<void> {
    for (const { container } of this.nodes) await container.must('bash', '-ec', script);
  }

  /** The keys that other users can read, and the files that have the key of the old CA. */
  async #unsafeKeys({ container }: KubeadmNode): Promise<string> {
    assert.ok(this.#oldKey !== undefined);
    const search = `cd /etc/kubernetes
find . -name '*.key' -perm /077
grep --recursive --files-with-matches --fixed-strings -e '${this.#oldKey}' . || true`;
    return container.must('bash', '-ec', search);
  }

  async #wait(goal: string, node: KubeadmNode): Promise<void> {
    await waitFor(node, [goal, ...this.#gates, ...this.#named].join(' '), this.#report);
  }

  async #applyOnEach(...step: readonly string[]): Promise<void> {
    for (const node of this.nodes) {
      await mustApply(node, this.#report, ...step, ...this.#gates);
      await requireConsistent(node, this.#named);
    }
  }
}

const restartServer = `
crictl stop $(crictl ps --quiet --name kube-apiserver)
until kubectl --server "https://$(hostname):6443" get --raw /readyz; do sleep 1; done
`;

/** Also with --yes. @returns the table with the reasons */
export async function requireRefused(
  node: KubeadmNode,
  ...step: readonly string[]
): Promise<string> {
  const { code, stdout, stderr } = await apply(node, ...step);
  assert.ok([3, 4].includes(code), `${step.join(' ')} on ${node.name}: ${code} ${stdout}${stderr}`);
  return stdout;
}

export async function requireNothingToDo(node: KubeadmNode, step: string): Promise<void> {
  const before = await managerId(node);
  const { code, stdout, stderr } = await apply(node, step);
  assert.equal(code, 0, `${node.name} ${step}: ${stdout}${stderr}`);
  assert.equal(await managerId(node), before, 'kube-controller-manager has restarted');
}

async function managerId({ container }: KubeadmNode): Promise<string> {
  return container.must('crictl', 'ps', '--quiet', '--name', 'kube-controller-manager');
}
