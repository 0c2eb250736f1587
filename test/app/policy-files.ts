import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';

/** A policy with an inventory in a folder, for tests that change the files. */
export class PolicyFiles {
  readonly policy: string;
  readonly inventory: string;

  constructor(folder: string) {
    this.policy = join(folder, 'policy.yaml');
    this.inventory = join(folder, 'nodes.yaml');
  }

  async writePolicy(keys: Readonly<Record<string, unknown>> = {}): Promise<void> {
    await writeFile(this.policy, policyText(keys));
  }

  async writeInventory(...names: readonly string[]): Promise<void> {
    await writeFile(this.inventory, inventoryText(...names));
  }
}

export function policyText(keys: Readonly<Record<string, unknown>> = {}): string {
  const sources = { inventory: { file: 'nodes.yaml' } };
  return stringify({ apiVersion, kind: 'ApproverPolicy', sources, ...keys });
}

export function inventoryText(...names: readonly string[]): string {
  const nodes = names.map((name) => ({ name, names: [name] }));
  return stringify({ apiVersion, kind: 'NodeInventory', nodes });
}

const apiVersion = 'nodecertd.io/v1alpha1';
