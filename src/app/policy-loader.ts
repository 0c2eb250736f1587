import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { inventorySource } from '../approver/sources/inventory-source.ts';
import type { Source } from '../approver/facts.ts';
import { loadApproverPolicy } from '../config/approver-policy.ts';
import { loadNodeInventory } from '../config/node-inventory.ts';
import type { ApproverPolicy } from '../core/approver-policy.ts';
import { defaultApproverPolicy } from '../core/approver-policy.ts';
import type { NodeInventory } from '../core/node-inventory.ts';

export interface LoadedPolicy {
  readonly policy: ApproverPolicy;
  /** Without the source `machine`, which only a leader follows. */
  readonly sources: readonly Source[];
  /** Why the inventory was refused, so that its last valid version stays in use. */
  readonly invalidInventory?: unknown;
}

/** Reads the policy and its inventory, and notices when one of the files has changed. */
export class PolicyLoader {
  readonly #file: string | undefined;
  #inventoryFile: string | undefined;
  /** The last valid one. */
  #inventory: NodeInventory | undefined;
  /** Of each file, from before it was read, so that no later change is missed. */
  #digests = new Map<string, string>();

  /** @param file the default policy if absent */
  constructor(file: string | undefined) {
    this.#file = file;
  }

  /** @throws AgentError CONFIG_UNREADABLE, CONFIG_INVALID for the policy */
  async load(): Promise<LoadedPolicy> {
    this.#digests = new Map();
    const policy = await this.#loadPolicy();
    const { inventory } = policy.sources;
    if (inventory?.file !== this.#inventoryFile) this.#inventory = undefined;
    this.#inventoryFile = inventory?.file;
    if (inventory === undefined) return { policy, sources: [] };
    await this.#noteDigest(inventory.file);
    try {
      this.#inventory = await loadNodeInventory(inventory.file);
      return { policy, sources: [inventorySource(this.#inventory)] };
    } catch (invalidInventory) {
      return { policy, sources: [inventorySource(this.#inventory)], invalidInventory };
    }
  }

  /** Whether a file differs from what the last load has read. */
  async isChanged(): Promise<boolean> {
    for (const [file, digest] of this.#digests) {
      if ((await digestOf(file)) !== digest) return true;
    }
    return false;
  }

  async #loadPolicy(): Promise<ApproverPolicy> {
    if (this.#file === undefined) return defaultApproverPolicy;
    await this.#noteDigest(this.#file);
    return loadApproverPolicy(this.#file);
  }

  async #noteDigest(file: string): Promise<void> {
    this.#digests.set(file, await digestOf(file));
  }
}

async function digestOf(file: string): Promise<string> {
  const bytes = await readFile(file).catch(() => undefined);
  return bytes === undefined ? 'missing' : createHash('sha256').update(bytes).digest('hex');
}
