import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import type { ProbedCluster } from '../support/api-prober.ts';
import { apiName } from '../support/kubeadm-configuration.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import { readCredentials } from './credentials.ts';
import { startIn } from './network-process.ts';

interface Change {
  readonly at: number;
  readonly node: string;
  readonly component: 'etcd' | 'kube-apiserver';
  readonly state: 'healthy' | 'unhealthy' | 'down';
}

/** Starts and ends of the static pods of all control-plane nodes. */
export class MemberWatch implements Disposable {
  readonly #changes: Change[] = [];
  readonly #children: readonly ChildProcess[];
  readonly #nodes: number;

  constructor({ controlPlanes }: KubeadmCluster) {
    this.#nodes = controlPlanes.length;
    this.#children = controlPlanes.map(({ name, network }) => {
      const child = startIn(network, 'member-watch.process.ts', []);
      createInterface({ input: child.stdout }).on('line', (line) => {
        const change = JSON.parse(line) as Omit<Change, 'node'>;
        this.#changes.push({ ...change, node: name });
      });
      return child;
    });
  }

  /** How often each component has come back since a time, as in `etcd on control-plane-1`. */
  restartsSince(start: number): Readonly<Record<string, number>> {
    const restarts: Record<string, number> = {};
    const wasDown = new Set<string>();
    for (const { at, node, component, state } of this.#changes) {
      const name = `${component} on ${node}`;
      if (state === 'down') wasDown.add(name);
      else if (wasDown.delete(name) && at >= start) restarts[name] = (restarts[name] ?? 0) + 1;
    }
    return restarts;
  }

  /**
   * The milliseconds since a time in which a component was in one of these states on fewer nodes than
   * this, once all nodes were observed.
   */
  msBelow(
    count: number,
    {
      component,
      since,
      states = ['healthy'],
    }: Pick<Change, 'component'> & {
      readonly since: number;
      readonly states?: readonly Change['state'][];
    },
  ): number {
    const now = new Map<string, Change['state']>();
    let total = 0;
    let below: number | undefined;
    const end = { node: '', component, at: Date.now(), state: 'healthy' } as const;
    for (const change of [...this.#changes.toSorted((a, b) => a.at - b.at), end]) {
      if (change.component !== component) continue;
      if (below !== undefined) total += Math.max(0, change.at - Math.max(below, since));
      if (change.node !== '') now.set(change.node, change.state);
      const found = [...now.values()].filter((state) => states.includes(state)).length;
      below = now.size === this.#nodes && found < count ? change.at : undefined;
    }
    return total;
  }

  [Symbol.dispose](): void {
    for (const child of this.#children) child.kill('SIGKILL');
  }
}

export interface Written {
  readonly acknowledged: readonly string[];
  readonly failed: number;
  /** In which no API server acknowledged a write. */
  readonly longestGapMs: number;
}

/** Writes through each API server until it is stopped. */
export class ApiWriter implements Disposable {
  readonly #child: ChildProcess;
  readonly #output: Promise<string>;

  private constructor(child: ReturnType<typeof startIn>) {
    this.#child = child;
    this.#output = text(child.stdout);
  }

  static async start({ controlPlanes, directory, network }: ProbedCluster): Promise<ApiWriter> {
    const [first] = controlPlanes;
    if (first === undefined) throw new Error('no control plane');
    const read = async (path: string): Promise<string> => first.container.read(path);
    const { caPem, pair } = await readCredentials('/etc/kubernetes/admin.conf', read);
    const file = join(directory, 'writer.json');
    const client = { ca: caPem, cert: pair.certificatePem, key: pair.keyPem };
    await writeFile(file, JSON.stringify(client), { mode: 0o600 });
    const addresses = controlPlanes.map(({ address }) => address);
    return new ApiWriter(startIn(network, 'api-writer.process.ts', [file, apiName, ...addresses]));
  }

  async stop(): Promise<Written> {
    this.#child.kill('SIGTERM');
    await once(this.#child, 'exit');
    return JSON.parse(await this.#output) as Written;
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }
}
