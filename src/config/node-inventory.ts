import { createHash } from 'node:crypto';
import * as v from 'valibot';
import { parseIp } from '../core/cidr.ts';
import type { InventoryNode, NodeInventory } from '../core/node-inventory.ts';
import { isNodeName } from '../core/node-name.ts';
import { cidrSchema, nameSchema } from './approver-policy.ts';
import { parseDocument } from './parse-document.ts';
import { readText } from './read-text.ts';
import { apiVersion } from './schema.ts';

/** The shape of the inventory file: the names, addresses and ranges that each node may have. */

const expectIp = 'expected an IP address';

const address = v.pipe(
  v.string(expectIp),
  v.check((text) => parseIp(text) !== undefined, expectIp),
  v.transform((text) => parseIp(text) ?? new Uint8Array()),
);

const entrySchema = v.strictObject({
  name: v.pipe(v.string(), v.check(isNodeName, 'expected the name of a Node')),
  names: v.optional(v.array(nameSchema), []),
  addresses: v.optional(v.array(address), []),
  cidrs: v.optional(v.array(cidrSchema), []),
});

export const inventorySchema = v.strictObject({
  apiVersion: v.literal(apiVersion),
  kind: v.literal('NodeInventory'),
  nodes: v.pipe(
    v.array(entrySchema),
    v.check(
      (nodes) => new Set(nodes.map(({ name }) => name)).size === nodes.length,
      'expected each name once',
    ),
  ),
});

/** Ten thousand nodes with a few names and addresses each. */
const textKind = { what: 'the inventory', option: 'sources.inventory.file', maxMiB: 8 };

/** @throws AgentError CONFIG_UNREADABLE, or CONFIG_INVALID with one line for each problem */
export async function loadNodeInventory(file: string): Promise<NodeInventory> {
  return parseNodeInventory(await readText(file, textKind), file);
}

/** @throws AgentError CONFIG_INVALID */
export function parseNodeInventory(text: string, file: string): NodeInventory {
  const { nodes } = parseDocument(text, file, inventorySchema);
  return {
    digest: createHash('sha256').update(text).digest('hex'),
    nodes: new Map(nodes.map((entry) => [entry.name, toNode(entry)])),
  };
}

function toNode({ names, addresses, cidrs }: v.InferOutput<typeof entrySchema>): InventoryNode {
  return {
    names: new Set(names),
    addresses: addresses.map((address) => ({ address, prefix: address.length * 8 })),
    cidrs,
  };
}
