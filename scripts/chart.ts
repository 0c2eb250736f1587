import { toJsonSchema } from '@valibot/to-json-schema';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { BaseIssue, BaseSchema } from 'valibot';
import { parse, stringify } from 'yaml';
import { policySchema } from '../src/config/approver-policy.ts';
import { inventorySchema } from '../src/config/node-inventory.ts';
import { version } from '../src/core/version.ts';
import { without } from '../src/core/without.ts';

/** The parts of the chart that come from other files. */

export const chartDirectory = fileURLToPath(new URL('../config/approver/chart/', import.meta.url));
export const chartFiles = ['Chart.yaml', 'values.schema.json', 'files/alerts.yaml'] as const;

const rulesFile = new URL('../config/prometheus-rules.yaml', import.meta.url);

/** The file as `make chart` writes it. */
export async function renderChartFile(name: (typeof chartFiles)[number]): Promise<string> {
  if (name === 'files/alerts.yaml') return alertsOf(await readFile(rulesFile, 'utf8'));
  const text = await readFile(`${chartDirectory}${name}`, 'utf8');
  return name === 'Chart.yaml' ? withVersion(text) : withConfigurationSchemas(text);
}

/** The rules of the approver, without those of the agent. */
function alertsOf(rules: string): string {
  const { groups } = parse(rules) as { readonly groups: readonly { readonly name: string }[] };
  const own = groups.filter(({ name }) => name === 'nodecertd-approver');
  if (own.length === 0) throw new Error(`${rulesFile.pathname} has no group nodecertd-approver`);
  return `# From config/prometheus-rules.yaml: run make chart.\n${stringify({ groups: own }, { lineWidth: 0 })}`;
}

function withVersion(text: string): string {
  return text.replace(/^(version|appVersion): .*$/gm, `$1: ${version}`);
}

/** Checks written as functions have no counterpart in JSON Schema and are left to the approver. */
function withConfigurationSchemas(text: string): string {
  const schema = JSON.parse(text) as { readonly definitions: object };
  const definitions = {
    ...schema.definitions,
    policy: definitionOf(policySchema),
    inventory: definitionOf(inventorySchema),
  };
  return `${JSON.stringify({ ...schema, definitions }, null, 2)}\n`;
}

function definitionOf(schema: BaseSchema<unknown, unknown, BaseIssue<unknown>>): object {
  const definition = toJsonSchema(schema, {
    typeMode: 'input',
    errorMode: 'ignore',
    // Versions of Helm before 3.18 know no later draft.
    target: 'draft-07',
  });
  return without(definition, '$schema');
}
