import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDirectory, findProgram, packagesDirectory, skip } from './programs.ts';

/**
 * `make packages`: unpacks the Debian packages that tests need into the user's
 * cache; those that only some tests need, when they are named. Installing them would start their services (prometheus has one) and change
 * the machine; unpacking does neither, and needs root for the package lists at most.
 */
const packages: Readonly<Record<string, DebianPackage>> = {
  prometheus: { programs: ['prometheus', 'promtool'] },
  strace: { programs: ['strace'], libraries: ['libunwind8'] },
  faketime: { programs: ['faketime'], libraries: ['libfaketime'] },
  mandoc: { programs: ['mandoc'] },
  zsh: { programs: ['zsh'] },
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
  /** Packages unpacked into the same directory, because a plain installation may lack them. */
  readonly libraries?: readonly string[];
  readonly onlyWhenNamed?: true;
}

const named = process.argv.slice(2);

for (const [name, { programs, libraries = [], onlyWhenNamed }] of Object.entries(packages)) {
  if (named.length === 0 ? onlyWhenNamed : !named.includes(name)) continue;
  if (programs.every((program) => findProgram(program) !== undefined)) continue;
  const failure = unpack(name, libraries);
  if (failure !== undefined) say(`skipped: ${skip(`tests that need ${name}: ${failure}`)}`);
}

/** Returns why it did not work, if it did not. */
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

/** Missing or stale package lists are the usual reason to fail, and root can fetch them. */
function download(names: readonly string[], directory: string): string | undefined {
  const fetch = (): string | undefined => run('apt-get', ['download', ...names], directory);
  const failure = fetch();
  if (failure === undefined || process.getuid?.() !== 0) return failure;
  return run('apt-get', ['update'], directory) ?? fetch();
}

/** The last line of what the program complained about, if it failed. */
function run(program: string, args: readonly string[], cwd: string): string | undefined {
  const { status, stderr, error } = spawnSync(program, args, { cwd, encoding: 'utf8' });
  if (status === 0) return undefined;
  const complaint = error?.message ?? stderr.trim().split('\n').at(-1) ?? '';
  return `${program} ${args.join(' ')} failed: ${complaint}`;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
