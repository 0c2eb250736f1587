import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { KubeadmCluster } from './kubeadm-cluster.ts';
import { apiName } from './kubeadm-configuration.ts';
import { scaled } from './machine-speed.ts';
import type { NetworkNamespace } from './node-network.ts';

export interface Probed {
  /** One line of JSON for each request that failed. */
  readonly failures: readonly string[];
  readonly requests: number;
  /** The CSRs that were issued, and how long the slowest of them waited. */
  readonly csrs?: number;
  readonly longestWaitMs?: number;
}

/** Disposing it ends the process of the probes, which would keep a failed test running. */
export interface ApiProber extends Disposable {
  stop(): Promise<Probed>;
}

/** A cluster, or some of its control-plane nodes. */
export type ProbedCluster = Pick<KubeadmCluster, 'directory' | 'network' | 'controlPlanes'>;

/**
 * Probes all API servers of a cluster by address and by name, until it is stopped.
 * @param path what an anonymous user may get
 */
export async function startApiProber(
  { directory, network, controlPlanes }: ProbedCluster,
  path = '/readyz',
): Promise<ApiProber> {
  const [first] = controlPlanes;
  const caPem = (await first?.container.read('/etc/kubernetes/pki/ca.crt')) ?? '';
  const addresses = controlPlanes.map(({ address }) => address);
  const targets = addresses.flatMap((address) => [address, `${address}/${apiName}`]);
  return startProber({ directory, network, caPem, path, targets });
}

export interface ProbedServers {
  /** Where the file with the CA is. */
  readonly directory: string;
  readonly network: NetworkNamespace;
  readonly caPem: string;
  readonly path: string;
  /** `10.99.0.11`, or `10.99.0.11/api.cluster.test` with the name to verify. */
  readonly targets: readonly string[];
}

/** Probes API servers until it is stopped. */
export async function startProber({
  directory,
  network,
  caPem,
  path,
  targets,
}: ProbedServers): Promise<ApiProber> {
  const caFile = join(directory, `prober-${randomUUID()}.crt`);
  await writeFile(caFile, caPem);
  const script = join(import.meta.dirname, 'api-prober.process.ts');
  const options = [path, caFile, String(scaled(5_000)), ...targets];
  return startProbingProcess(network, script, options);
}

/** Runs a script in a network. On SIGTERM it prints one line for each failure, and then the counts. */
export function startProbingProcess(
  { enter: [command = '', ...enter] }: Pick<NetworkNamespace, 'enter'>,
  script: string,
  options: readonly string[],
): ApiProber {
  const child = spawn(command, [...enter, process.execPath, script, ...options], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const output = text(child.stdout);
  return {
    stop: async () => {
      child.kill('SIGTERM');
      await once(child, 'exit');
      const lines = (await output).split('\n').filter((line) => line !== '');
      const counts = JSON.parse(lines.pop() ?? '{}') as Omit<Probed, 'failures'>;
      return { ...counts, failures: lines };
    },
    [Symbol.dispose]: () => child.kill('SIGKILL'),
  };
}
