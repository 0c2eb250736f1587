import { writeFile } from 'node:fs/promises';
import { jsonSchemaFile, renderJsonSchema } from './json-schema.ts';

/** Run it after a change of src/config/schema.ts: node scripts/write-json-schema.ts */
await writeFile(jsonSchemaFile, renderJsonSchema());
