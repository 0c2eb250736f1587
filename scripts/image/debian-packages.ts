import { execFileSync, spawnSync } from 'node:child_process';
import type { ExecFileSyncOptions } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A package as the package lists of this machine describe it. */
export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** The digest of the .deb file. */
  readonly sha256: string;
  /** The .deb file in the cache. */
  readonly file: string;
}

/** Without the warning that root downloads as root; the error of a failure contains all output. */
const quiet: ExecFileSyncOptions = { stdio: ['ignore', 'ignore', 'pipe'] };

/**
 * Downloads the newest versions that the package lists have, unless the folder has them.
 * @throws if a file does not have the digest of the package lists
 */
export async function downloadPackages(
  names: readonly string[],
  folder: string,
): Promise<DebianPackage[]> {
  const packages = names.map((name) => describe(name, folder));
  await mkdir(folder, { recursive: true });
  const missing = packages.filter(({ file }) => !existsSync(file));
  if (missing.length > 0) {
    const versions = missing.map(({ name, version }) => `${name}=${version}`);
    execFileSync('apt-get', ['download', ...versions], { ...quiet, cwd: folder });
  }
  for (const { file, sha256 } of packages) {
    const found = createHash('sha256')
      .update(await readFile(file))
      .digest('hex');
    if (found !== sha256) throw new Error(`${file} has the digest ${found}, not ${sha256}`);
  }
  return packages;
}

function describe(name: string, folder: string): DebianPackage {
  const found = listed(name) ?? (update(), listed(name));
  if (found === undefined) {
    throw new Error(`the package lists do not have ${name}: run apt-get update as root`);
  }
  const { version, architecture } = found;
  // apt-get encodes the colon of an epoch.
  const file = `${name}_${version.replace(':', '%3a')}_${architecture}.deb`;
  return { ...found, file: join(folder, file) };
}

/** Without package lists, apt-cache knows only installed packages, and those without a digest. */
function listed(name: string): Omit<DebianPackage, 'file'> | undefined {
  const command = ['show', '--no-all-versions', name];
  const { stdout: text } = spawnSync('apt-cache', command, { encoding: 'utf8' });
  const field = (key: string): string | undefined =>
    new RegExp(`^${key}: (.*)$`, 'm').exec(text)?.[1];
  const [version, architecture, sha256] = ['Version', 'Architecture', 'SHA256'].map(field);
  if (version === undefined || architecture === undefined || sha256 === undefined) return undefined;
  return { name, version, architecture, sha256 };
}

function update(): void {
  if (process.getuid?.() === 0) execFileSync('apt-get', ['update'], quiet);
}
