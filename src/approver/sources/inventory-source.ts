import { cidrContains } from '../../core/cidr.ts';
import type { InventoryNode, NodeInventory } from '../../core/node-inventory.ts';
import type { AltName } from '../alt-name.ts';
import { foldName, formatAltName } from '../alt-name.ts';
import type { Source } from '../facts.ts';

/** @param inventory the last valid version of the file; undefined if none was valid so far */
export function inventorySource(inventory: NodeInventory | undefined): Source {
  return {
    name: 'inventory',
    versionOf: () => inventory?.digest ?? 'none',
    judge: (node, altNames) => {
      if (inventory === undefined) {
        return {
          kind: 'unavailable',
          reason: 'no valid version of the file has been read',
          remedy: 'Correct the file of sources.inventory in the policy',
        };
      }
      const entry = inventory.nodes.get(node.name);
      if (entry === undefined) {
        return { kind: 'disagrees', reason: `the inventory has no node ${node.name}` };
      }
      const foreign = altNames.find((altName) => !isListed(entry, altName));
      if (foreign === undefined) return { kind: 'agrees' };
      const reason = `the inventory does not list ${formatAltName(foreign)} for ${node.name}`;
      return { kind: 'disagrees', reason };
    },
  };
}

function isListed({ names, addresses, cidrs }: InventoryNode, altName: AltName): boolean {
  if (altName.kind === 'dns') return names.has(foldName(altName.name));
  return [...addresses, ...cidrs].some((cidr) => cidrContains(cidr, altName.ip));
}
