import { writeFile } from 'node:fs/promises';
import { jsonSchemaFile, renderJsonSchema } from '../test/config/json-schema.ts';

/** `node test/config/write-json-schema.ts` after a change of src/config/schema.ts. */
await writeFile(jsonSchemaFile, renderJsonSchema());
