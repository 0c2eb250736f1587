import { createHash } from 'node:crypto';
import {
  accessSync,
  appendFileSync,
  constants,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  readdirSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, isAbsolute, join, relative, sep } from 'node:path';

/**
 * Programs that tests need and npm does not have: their folders, whether they exist,
 * and how a test is skipped without them.
 */
const root = join(import.meta.dirname, '../..');

/** Outside the repository, so that a fresh clone finds what an earlier one has built. */
export const cacheDirectory = join(userCache(), 'nodecertd');

/** Each Debian package is unpacked into a folder of its name here: see fetch-packages.ts. */
export const packagesDirectory = join(cacheDirectory, 'packages');

export const goModuleDirectory = join(root, 'test');

export const crictlModuleDirectory = join(goModuleDirectory, 'real/crictl');

export const helmModuleDirectory = join(goModuleDirectory, 'real/helm');

export const extensionModuleDirectory = join(goModuleDirectory, 'real/sample-apiserver');

/** The Kubernetes release of the control plane, from test/go.mod. */
export function kubernetesVersion(): string {
  return requiredVersion(goModuleDirectory, 'k8s.io/kubernetes');
}

export function crictlVersion(): string {
  return requiredVersion(crictlModuleDirectory, 'sigs.k8s.io/cri-tools');
}

export function controlPlaneDirectory(): string {
  return join(cacheDirectory, 'control-plane', buildName(goModuleDirectory, kubernetesVersion()));
}

export function crictlProgram(): string {
  return join(
    cacheDirectory,
    'crictl',
    buildName(crictlModuleDirectory, crictlVersion()),
    'crictl',
  );
}

export function helmVersion(): string {
  return requiredVersion(helmModuleDirectory, 'helm.sh/helm/v4');
}

export function helmProgram(): string {
  return join(cacheDirectory, 'helm', buildName(helmModuleDirectory, helmVersion()), 'helm');
}

/** An extension API server of the same release as the control plane. */
export function extensionProgram(): string {
  const version = requiredVersion(extensionModuleDirectory, 'k8s.io/sample-apiserver');
  const build = buildName(extensionModuleDirectory, version);
  return join(cacheDirectory, 'sample-apiserver', build, 'sample-apiserver');
}

/** Each go.mod and go.sum has its own folder, because other sources give other binaries. */
function buildName(moduleDirectory: string, version: string): string {
  const sources = ['go.mod', 'go.sum'].map((file) => readFileSync(join(moduleDirectory, file)));
  return `${version}-${shortDigest(...sources)}`;
}

function requiredVersion(moduleDirectory: string, required: string): string {
  const file = join(moduleDirectory, 'go.mod');
  const lines = readFileSync(file, 'utf8')
    .split('\n')
    .map((line) => line.trim().split(' '));
  const version = lines.find(([name]) => name === required)?.[1];
  if (version === undefined) throw new Error(`${file} does not require ${required}`);
  return version;
}

/** Names a folder of the cache by everything that determines its content. */
export function shortDigest(...parts: readonly (string | Buffer)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex').slice(0, 12);
}

/** The path of a program on PATH or in an unpacked Debian package. */
export function findProgram(name: string): string | undefined {
  const directories = (process.env['PATH'] ?? '').split(delimiter).filter(isAbsolute);
  return [...directories, ...unpacked()]
    .map((directory) => join(directory, name))
    .find(isExecutable);
}

function unpacked(): string[] {
  if (!existsSync(packagesDirectory)) return [];
  return readdirSync(packagesDirectory).flatMap((name) =>
    ['usr/bin', 'usr/sbin', 'bin'].map((folder) => join(packagesDirectory, name, folder)),
  );
}

/** The environment in which an unpacked program finds the libraries unpacked beside it. */
export function libraryEnvironment(program: string): Readonly<Record<string, string>> {
  const inside = relative(packagesDirectory, program);
  if (inside.startsWith('..')) return {};
  const root = join(packagesDirectory, inside.split(sep)[0] ?? '');
  return {
    LD_LIBRARY_PATH: globSync(join(root, '{,usr/}lib/*-linux-gnu*{,/systemd}')).join(delimiter),
  };
}

/**
 * For the `skip` option of a test: false if every program exists. Otherwise the reason,
 * which `make test` prints at its end.
 * @throws in CI, where no test may be skipped
 */
export function skipWithout(...names: readonly string[]): string | false {
  const missing = names.filter((name) => findProgram(name) === undefined);
  return missing.length === 0 ? false : skip(`tests that need ${missing.join(', ')}: not found`);
}

/**
 * Records why a test is skipped, for the end of `make test`.
 * @throws in CI, because a test that CI skips never runs
 */
export function skip(what: string): string {
  if (strict) throw new Error(`CI may not skip: ${what}`);
  mkdirSync(join(root, '.cache'), { recursive: true });
  appendFileSync(join(root, '.cache/skipped'), `${what}\n`);
  return what;
}

export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

const strict = process.env['NODECERTD_STRICT'] === '1' || process.env['CI'] === 'true';

/** The XDG Base Directory Specification says to ignore a relative path. */
function userCache(): string {
  const configured = process.env['XDG_CACHE_HOME'] ?? '';
  return isAbsolute(configured) ? configured : join(homedir(), '.cache');
}
