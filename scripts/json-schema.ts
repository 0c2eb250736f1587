import { toJsonSchema } from '@valibot/to-json-schema';
import { configFileSchema } from '../src/config/schema.ts';

export const jsonSchemaFile = new URL('../config/config.schema.json', import.meta.url);

/**
 * The schema of the configuration file for editors. Checks written as functions
 * have no counterpart in JSON Schema and are left to the loader.
 */
export function renderJsonSchema(): string {
  const schema = toJsonSchema(configFileSchema, {
    typeMode: 'input',
    errorMode: 'ignore',
    target: 'draft-2020-12',
  });
  const titled = { ...schema, title: 'AgentConfiguration of nodecertd' };
  return `${JSON.stringify(titled, null, 2)}\n`;
}
