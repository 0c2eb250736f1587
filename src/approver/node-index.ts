import type { Cidr, IpBytes } from '../core/cidr.ts';
import { formatIp, maskedIp, parseCidr } from '../core/cidr.ts';
import type { Instant } from '../core/instant.ts';
import { keysOfAddresses } from './alt-name.ts';
import type { NodeLookup, PodRange } from './facts.ts';
import type { NameSets } from './name-sets.ts';
import { addName, removeName } from './name-sets.ts';
import type { NodeSnapshot } from './node-snapshot.ts';

/** All Nodes of the cluster, with their names, addresses and pod ranges as keys. */
export class NodeIndex implements NodeLookup {
  readonly #nodes = new Map<string, NodeSnapshot>();
  /** Keys of alternative names, and the names of the Nodes that have them. */
  readonly #claims: NameSets<string> = new Map();
  readonly #podRanges: NameSets<string> = new Map();
  /** The prefix lengths in use: a lookup tries each of them. */
  readonly #prefixes = new Map<number, number>();
  readonly #earlierSeenAt = new Map<string, Instant>();

  /** @param seenAt the current time, by which a previous Node of this name was last seen */
  put(node: NodeSnapshot, seenAt: Instant): void {
    const previous = this.#nodes.get(node.name);
    if (previous !== undefined) {
      this.#forget(previous);
      if (previous.uid !== node.uid) this.#earlierSeenAt.set(node.name, seenAt);
    }
    this.#nodes.set(node.name, node);
    for (const key of keysOfAddresses(node.addresses)) addName(this.#claims, key, node.name);
    for (const cidr of podCidrsOf(node)) {
      addName(this.#podRanges, rangeKey(cidr.address, cidr.prefix), node.name);
      this.#prefixes.set(cidr.prefix, (this.#prefixes.get(cidr.prefix) ?? 0) + 1);
    }
  }

  remove(name: string, seenAt: Instant): void {
    const node = this.#nodes.get(name);
    if (node === undefined) return;
    this.#forget(node);
    this.#nodes.delete(name);
    this.#earlierSeenAt.set(name, seenAt);
  }

  /** Drops the times of Nodes that were last seen before `before`, because no pending CSR is that old. */
  forgetEarlier(before: Instant): void {
    for (const [name, seenAt] of this.#earlierSeenAt) {
      if (seenAt < before) this.#earlierSeenAt.delete(name);
    }
  }

  get size(): number {
    return this.#nodes.size;
  }

  names(): Iterable<string> {
    return this.#nodes.keys();
  }

  get(name: string): NodeSnapshot | undefined {
    return this.#nodes.get(name);
  }

  earlierSeenAt(name: string): Instant | undefined {
    return this.#earlierSeenAt.get(name);
  }

  *claimants(altNameKey: string): Generator<NodeSnapshot, void> {
    for (const name of this.#claims.get(altNameKey) ?? []) {
      const node = this.#nodes.get(name);
      if (node !== undefined) yield node;
    }
  }

  podRangeOf(ip: IpBytes): PodRange | undefined {
    for (const prefix of this.#prefixes.keys()) {
      if (prefix > ip.length * 8) continue;
      const address = maskedIp(ip, prefix);
      const [node] = this.#podRanges.get(rangeKey(address, prefix)) ?? [];
      if (node !== undefined) return { node, cidr: { address, prefix } };
    }
    return undefined;
  }

  #forget(node: NodeSnapshot): void {
    for (const key of keysOfAddresses(node.addresses)) removeName(this.#claims, key, node.name);
    for (const { address, prefix } of podCidrsOf(node)) {
      removeName(this.#podRanges, rangeKey(address, prefix), node.name);
      const left = (this.#prefixes.get(prefix) ?? 0) - 1;
      if (left > 0) this.#prefixes.set(prefix, left);
      else this.#prefixes.delete(prefix);
    }
  }
}

function podCidrsOf(node: NodeSnapshot): Cidr[] {
  return node.podCidrs.flatMap((text) => parseCidr(text) ?? []);
}

function rangeKey(address: IpBytes, prefix: number): string {
  return `${formatIp(address)}/${prefix}`;
}
