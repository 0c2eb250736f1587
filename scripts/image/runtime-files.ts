import { execFileSync } from 'node:child_process';
import { cp, lstat, mkdir, readdir, readlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { DebianPackage } from './debian-packages.ts';
import { downloadPackages } from './debian-packages.ts';

export interface RuntimeRequest {
  /** The program whose libraries are needed. */
  readonly program: string;
  /** The Debian packages with these libraries. */
  readonly libraries: readonly string[];
  /** The folder of downloaded packages. */
  readonly cache: string;
  /** The folder for unpacked packages. */
  readonly unpacked: string;
  /** The root of the image. */
  readonly target: string;
}

/** base-files has os-release(5), and licenses that the copyright files of other packages name. */
const base = 'base-files';
const baseFiles = ['etc/os-release', 'usr/lib/os-release', 'usr/share/common-licenses'];

/**
 * Copies from Debian packages what a program needs: its libraries, their licenses, and a list of
 * the packages in the form that vulnerability scanners read.
 */
export async function copyRuntimeFiles(request: RuntimeRequest): Promise<DebianPackage[]> {
  const { libraries, target } = request;
  const packages = await unpack([base, ...libraries], request);
  packages.push(...(await unpack(await linkedDocumentation(packages, request), request)));
  const paths = await readdir(request.unpacked, { recursive: true });
  const copied = [
    ...baseFiles,
    ...(await libraryPaths(request, paths)),
    ...(await documentation(packages, request)),
  ];
  for (const path of copied) await copy(path, request);
  for (const { name, file } of packages) {
    const status = join(target, 'var/lib/dpkg/status.d', name);
    await mkdir(dirname(status), { recursive: true });
    await writeFile(status, `${run('dpkg-deb', '--field', file).trim()}\n`);
  }
  return packages;
}

async function unpack(
  names: readonly string[],
  { cache, unpacked }: RuntimeRequest,
): Promise<DebianPackage[]> {
  const packages = await downloadPackages(names, cache);
  for (const { file } of packages) run('dpkg-deb', '--extract', file, unpacked);
  return packages;
}

/** The documentation of some packages is a link to that of another package, which has the license. */
async function linkedDocumentation(
  packages: readonly DebianPackage[],
  { unpacked }: RuntimeRequest,
): Promise<string[]> {
  const links = await Promise.all(
    packages.map(async ({ name }) => linkTarget(join(unpacked, 'usr/share/doc', name))),
  );
  return [...new Set(links.filter((link) => link !== undefined))];
}

async function documentation(
  packages: readonly DebianPackage[],
  { unpacked }: RuntimeRequest,
): Promise<string[]> {
  return Promise.all(
    packages.map(async ({ name }) => {
      const folder = join('usr/share/doc', name);
      const isLink = (await linkTarget(join(unpacked, folder))) !== undefined;
      return isLink ? folder : join(folder, 'copyright');
    }),
  );
}

/** The paths of the libraries that the program needs, of those that these need, and of links to them. */
async function libraryPaths(
  { program, unpacked }: RuntimeRequest,
  paths: readonly string[],
): Promise<string[]> {
  // Since Debian 13, these are links into usr.
  const found = new Set<string>();
  for (const path of ['lib', 'lib64']) {
    const exists = paths.includes(path);
    if (exists && (await linkTarget(join(unpacked, path))) !== undefined) found.add(path);
  }
  const names = new Set(neededBy(program));
  // A set also visits what is added meanwhile.
  for (const name of names) {
    const own = paths.filter((path) => basename(path) === name);
    if (own.length === 0) throw new Error(`no Debian package has the library ${name}`);
    for (const path of own) {
      found.add(path);
      const link = await linkTarget(join(unpacked, path));
      const needed = link === undefined ? neededBy(join(unpacked, path)) : [basename(link)];
      for (const one of needed) names.add(one);
    }
  }
  return [...found];
}

function neededBy(file: string): string[] {
  const output = run('readelf', '--dynamic', '--wide', file);
  return [...output.matchAll(/\(NEEDED\)\s+Shared library: \[(.+)\]/g)].map(
    ([, name = '']) => name,
  );
}

async function linkTarget(path: string): Promise<string | undefined> {
  return (await lstat(path)).isSymbolicLink() ? readlink(path) : undefined;
}

async function copy(path: string, { unpacked, target }: RuntimeRequest): Promise<void> {
  const to = join(target, path);
  await mkdir(dirname(to), { recursive: true });
  await cp(join(unpacked, path), to, { recursive: true, verbatimSymlinks: true });
}

function run(program: string, ...args: readonly string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', maxBuffer: 2 ** 24 });
}
