import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDirectory, findProgram, packagesDirectory, skip } from './programs.ts';

/**
 * `make packages` unpacks the Debian packages that tests need into the user's cache.
 * Packages for some tests only are unpacked when they are named as arguments.
 * Installing a package would change the machine and start services, such as prometheus.
 * Unpacking does neither, and needs root only to update the package lists.
 */
const packages: Readonly<Record<string, DebianPackage>> = {
  prometheus: { programs: ['prometheus', 'promtool'] },
  strace: { programs: ['strace'], libraries: ['libunwind8'] },
  faketime: { programs: ['faketime'], libraries: ['libfaketime'] },
  acl: { programs: ['getfacl', 'setfacl'] },
  attr: { programs: ['getfattr', 'setfattr'] },
  iproute2: {
    programs: ['ip'],
    libraries: ['libbpf1', 'libelf1', 'libmnl0', 'libbsd0', 'libmd0', 'libcap2'],
  },
  mandoc: { programs: ['mandoc'] },
  zsh: { programs: ['zsh'], libraries: ['zsh-common'], folder: 'usr/share/zsh/functions' },
  fish: { programs: ['fish'], libraries: ['libpcre2-32-0'] },
  debootstrap: { programs: ['debootstrap'], onlyWhenNamed: true },
  'systemd-container': {
    programs: ['systemd-nspawn'],
    libraries: ['libsystemd-shared', 'libip4tc2', 'libkmod2', 'libcap-ng0'],
    onlyWhenNamed: true,
  },
};

interface DebianPackage {
  readonly programs: readonly string[];
  /** Packages that are unpacked into the same folder, because a minimal Debian may lack them. */
  readonly libraries?: readonly string[];
  /** Has to exist beside the unpacked programs. */
  readonly folder?: string;
  readonly onlyWhenNamed?: true;
}

const named = process.argv.slice(2);

for (const [name, { programs, libraries = [], folder = '', onlyWhenNamed }] of Object.entries(
  packages,
)) {
  if (named.length === 0 ? onlyWhenNamed : !named.includes(name)) continue;
  const isUnpacked = existsSync(join(packagesDirectory, name));
  const isComplete = !isUnpacked || existsSync(join(packagesDirectory, name, folder));
  if (isComplete && programs.every((program) => findProgram(program) !== undefined)) continue;
  const failure = unpack(name, libraries);
  if (failure !== undefined) say(`skipped: ${skip(`tests that need ${name}: ${failure}`)}`);
}

/** Returns the reason for a failure, or undefined. */
function unpack(name: string, libraries: readonly string[]): string | undefined {
  if (findProgram('apt-get') === undefined || findProgram('dpkg') === undefined) {
    return `no ${name} on PATH, and this is no Debian to take it from`;
  }
  say(`Fetching the Debian package ${name} (once) ...`);
  mkdirSync(cacheDirectory, { recursive: true });
  const work = mkdtempSync(join(cacheDirectory, 'unpacking-'));
  try {
    const failure = download([name, ...libraries], work);
    if (failure !== undefined) return failure;
    for (const file of readdirSync(work)) {
      const unpacked = run('dpkg', ['-x', file, 'unpacked'], work);
      if (unpacked !== undefined) return unpacked;
    }
    const target = join(packagesDirectory, name);
    mkdirSync(packagesDirectory, { recursive: true });
    rmSync(target, { recursive: true, force: true });
    renameSync(join(work, 'unpacked'), target);
    return undefined;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Usually a download fails because package lists are missing or old. Root can update them. */
function download(names: readonly string[], directory: string): string | undefined {
  const fetch = (): string | undefined => run('apt-get', ['download', ...names], directory);
  const failure = fetch();
  if (failure === undefined || process.getuid?.() !== 0) return failure;
  return run('apt-get', ['update'], directory) ?? fetch();
}

/** Returns the last line of the error output if the program failed. */
function run(program: string, args: readonly string[], cwd: string): string | undefined {
  const { status, stderr, error } = spawnSync(program, args, { cwd, encoding: 'utf8' });
  if (status === 0) return undefined;
  const complaint = error?.message ?? stderr.trim().split('\n').at(-1) ?? '';
  return `${program} ${args.join(' ')} failed: ${complaint}`;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
