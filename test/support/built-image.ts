import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { debianArchitecture } from '../../scripts/package/control-file.ts';
import { version } from '../../src/core/version.ts';
import { skip } from './programs.ts';

const name = `nodecertd-image_${version}_${debianArchitecture(process.arch)}`;

/** The image that `make image` builds. */
export const builtImage = {
  archive: join(import.meta.dirname, '../../dist', `${name}.tar`),
  /** Its name after an import. */
  reference: `localhost/nodecertd:${version}`,
} as const;

/** For the `skip` option of a test. @throws in CI, where no test may be skipped */
export function skipWithoutImage(): string | false {
  if (existsSync(builtImage.archive)) return false;
  return skip('tests of the OCI image: not built (make image)');
}
