import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { debianArchitecture } from '../../scripts/package/control-file.ts';
import { version } from '../../src/core/version.ts';

const root = join(import.meta.dirname, '../..');

export interface BuiltPackage {
  /** The version of the program, without Debian's revision. */
  readonly version: string;
  readonly debianVersion: string;
  readonly file: string;
}

/** The package that `make deb` builds. */
export const builtPackage = packageIn('dist', version);

/** The same sources with a later version, which `make test-real` builds to test an upgrade. */
export const laterPackage = packageIn('.cache/later', `${version}+later`);

function packageIn(directory: string, its: string): BuiltPackage {
  const debianVersion = `${its}-1`;
  const name = `nodecertd_${debianVersion}_${debianArchitecture(process.arch)}.deb`;
  return { version: its, debianVersion, file: join(root, directory, name) };
}

/** @throws unless both packages have been built */
export function requirePackages(): void {
  for (const { file } of [builtPackage, laterPackage]) {
    if (!existsSync(file)) throw new Error(`${file} is missing: run make test-real`);
  }
}
