import { readlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Child } from './child.ts';
import { dyingWithParent } from './container-process.ts';
import { scaled } from './machine-speed.ts';
import { findProgram, libraryEnvironment } from './programs.ts';

const prefix = '10.99.0';
/** Of the bridge, where programs of the host listen for all nodes. */
export const bridgeAddress = `${prefix}.1`;
const shell = ['unshare', '--net', '--', 'sh', '-ec'];

/**
 * A network namespace, which a sleeping process keeps alive. It ends with that process,
 * which ends with this one, so that nothing has to be removed afterwards.
 */
export class NetworkNamespace implements AsyncDisposable {
  readonly #holder: Child;

  private constructor(holder: Child) {
    this.#holder = holder;
  }

  /** Runs a script in a new namespace, and waits until it has succeeded. */
  static async create(script: string, parts: NamespaceParts): Promise<NetworkNamespace> {
    const { name, directory, args = [] } = parts;
    const holder = new Child({
      name: `the network of ${name}`,
      command: dyingWithParent[0],
      args: [
        ...dyingWithParent.slice(1),
        ...shell,
        `${foundPrograms()}\n${script}\nexec sleep infinity`,
        'sh',
        ...args,
      ],
      logFile: join(directory, `network-${name}.log`),
    });
    const namespace = new NetworkNamespace(holder);
    const end = Date.now() + patience;
    while (!isAsleep(holder)) {
      if (!holder.running || Date.now() > end) {
        await holder.stop(0);
        throw holder.failure('was not set up');
      }
      await delay(10);
    }
    return namespace;
  }

  get pid(): number {
    return this.#holder.pid;
  }

  /** The namespace as a file, for `nsenter --net=`. */
  get path(): string {
    return `/proc/${this.pid}/ns/net`;
  }

  /** The beginning of a command that runs a program of the host in this network. */
  get enter(): readonly string[] {
    return ['nsenter', `--net=${this.path}`, '--'];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#holder.stop(0);
  }
}

/** Lets a script find `ip`, which may be in an unpacked package. */
function foundPrograms(): string {
  const program = findProgram('ip') ?? 'ip';
  const libraries = Object.entries(libraryEnvironment(program));
  const variables = [['PATH', `$PATH:${dirname(program)}`], ...libraries];
  return variables.map(([name, value]) => `export ${name}="${value}"`).join('\n');
}

interface NamespaceParts {
  readonly name: string;
  /** The folder of the log. */
  readonly directory: string;
  readonly args?: readonly string[];
}

/** The namespace with the bridge. It has no route to the outside, so no packet leaves the cluster. */
export async function createBridge(directory: string): Promise<NetworkNamespace> {
  return NetworkNamespace.create(bridge, { name: 'bridge', directory });
}

const bridge = `
ip link set lo up
ip link add br0 type bridge
ip address add ${bridgeAddress}/24 dev br0
ip link set br0 up`;

export interface NodeNetworkOptions {
  readonly name: string;
  readonly address: string;
  readonly directory: string;
  readonly bridge: NetworkNamespace;
}

/** The namespace of a node, with a cable to the bridge. */
export async function createNodeNetwork(options: NodeNetworkOptions): Promise<NetworkNamespace> {
  const { name, address, directory, bridge: other } = options;
  const port = `node${address.split('.').at(-1)}`;
  return NetworkNamespace.create(cable, {
    name,
    directory,
    args: [address, port, String(other.pid)],
  });
}

/** kubeadm requires ip_forward. */
const cable = `
ip link set lo up
ip link add eth0 type veth peer name "$2" netns "$3"
nsenter --net="/proc/$3/ns/net" -- ip link set "$2" master br0 up
ip address add "$1/24" dev eth0
ip link set eth0 up
ip route add default via ${bridgeAddress}
echo 1 >/proc/sys/net/ipv4/ip_forward`;

/** The control planes have the addresses from 11 on, the workers from 21 on. */
export function nodeAddress(role: 'control-plane' | 'worker', index: number): string {
  return `${prefix}.${(role === 'control-plane' ? 11 : 21) + index}`;
}

/** Each node has its own, because nothing routes between pods of different nodes. */
export function podSubnet(address: string): string {
  return `10.244.${address.split('.').at(-1)}.0/24`;
}

const patience = scaled(10_000);

function isAsleep(holder: Child): boolean {
  try {
    return basename(readlinkSync(`/proc/${holder.pid}/exe`)) === 'sleep';
  } catch {
    return false;
  }
}
