import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { debianArchitecture } from '../../scripts/package/control-file.ts';
import { version } from '../../src/core/version.ts';

const root = join(import.meta.dirname, '../..');

export interface BuiltPackage {
  /** Of the program; the package has a revision behind it. */
  readonly version: string;
  readonly debianVersion: string;
  readonly file: string;
}

/** As `make deb` leaves it. */
export const builtPackage = packageIn('dist', version);

/** The same sources under a later version, as `make deb-test` builds them to try an upgrade. */
export const laterPackage = packageIn('.cache/later', `${version}+later`);

function packageIn(directory: string, its: string): BuiltPackage {
  const debianVersion = `${its}-1`;
  const name = `nodecertd_${debianVersion}_${debianArchitecture(process.arch)}.deb`;
  return { version: its, debianVersion, file: join(root, directory, name) };
}

/** @throws when they have not been built: these tests are nothing but about them */
export function requirePackages(): void {
  for (const { file } of [builtPackage, laterPackage]) {
    if (!existsSync(file)) throw new Error(`${file} is missing: run make deb-test`);
  }
}
