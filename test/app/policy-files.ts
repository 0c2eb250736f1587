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
    const sources = { inventory: { file: 'nodes.yaml' } };
    const apiVersion = 'nodecertd.io/v1alpha1';
    const object = { apiVersion, kind: 'ApproverPolicy', sources, ...keys };
    await writeFile(this.policy, stringify(object));
  }

  async writeInventory(...names: readonly string[]): Promise<void> {
    const nodes = names.map((name) => ({ name, names: [name] }));
    const object = { apiVersion: 'nodecertd.io/v1alpha1', kind: 'NodeInventory', nodes };
    await writeFile(this.inventory, stringify(object));
  }
}
