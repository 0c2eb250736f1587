import { writeFile } from 'node:fs/promises';
import { manifestsFile, renderManifests } from '../support/helm.ts';

/** Part of `make chart`. */
await writeFile(manifestsFile, await renderManifests());
