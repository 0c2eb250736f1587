import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { inventorySource } from '../approver/sources/inventory-source.ts';
import type { Source } from '../approver/facts.ts';
import { loadApproverPolicy } from '../config/approver-policy.ts';
import { loadNodeInventory } from '../config/node-inventory.ts';
import type { ApproverPolicy } from '../core/approver-policy.ts';
import { defaultApproverPolicy } from '../core/approver-policy.ts';
import { AgentError } from '../core/errors.ts';
import type { NodeInventory } from '../core/node-inventory.ts';

export interface LoadedPolicy {
  readonly policy: ApproverPolicy;
  readonly sources: readonly Source[];
}

/** Reads the policy and its inventory, and notices when one of the files has changed. */
export class PolicyLoader {
  readonly #file: string | undefined;
  #inventoryFile: string | undefined;
  #inventory: NodeInventory | undefined;
  #digest: string | undefined;

  /** @param file the default policy if absent */
  constructor(file: string | undefined) {
    this.#file = file;
  }

  /**
   * The last valid inventory stays in use, so an invalid one is an error only in the log.
   * @throws AgentError CONFIG_UNREADABLE, CONFIG_INVALID
   */
  async load(onInvalidInventory: (error: unknown) => void): Promise<LoadedPolicy> {
    this.#digest = await this.#digestNow();
    const policy =
      this.#file === undefined ? defaultApproverPolicy : await loadApproverPolicy(this.#file);
    const { inventory, machine } = policy.sources;
    if (machine !== undefined) throw machinesUnsupported(this.#file);
    if (inventory?.file !== this.#inventoryFile) this.#inventory = undefined;
    this.#inventoryFile = inventory?.file;
    if (inventory === undefined) return { policy, sources: [] };
    this.#digest = await this.#digestNow();
    try {
      this.#inventory = await loadNodeInventory(inventory.file);
    } catch (error) {
      onInvalidInventory(error);
    }
    return { policy, sources: [inventorySource(this.#inventory)] };
  }

  /** Whether a file differs from what the last load has read. */
  async isChanged(): Promise<boolean> {
    return this.#digest !== (await this.#digestNow());
  }

  async #digestNow(): Promise<string> {
    const hash = createHash('sha256');
    for (const file of [this.#file, this.#inventoryFile]) {
      hash.update((file && (await readFile(file).catch(() => undefined))) ?? 'missing');
    }
    return hash.digest('hex');
  }
}

function machinesUnsupported(file = ''): AgentError {
  return new AgentError(
    'CONFIG_INVALID',
    `${file}: sources.machine: the approver does not watch Machines`,
    {
      remedy: 'Remove sources.machine, and use sources.inventory',
    },
  );
}
