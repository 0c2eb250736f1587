import type { Cidr } from './cidr.ts';

/** What an inventory file says about one node. */
export interface InventoryNode {
  /** Lower case, without a trailing dot. */
  readonly names: ReadonlySet<string>;
  /** As ranges of one address. */
  readonly addresses: readonly Cidr[];
  readonly cidrs: readonly Cidr[];
}

/** The nodes of an inventory file, by name. */
export interface NodeInventory {
  /** SHA-256 over the file, in hexadecimal. */
  readonly digest: string;
  readonly nodes: ReadonlyMap<string, InventoryNode>;
}
