import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { containerRoot, containerSystem } from '../support/container-root.ts';
import { findProgram, packagesDirectory, skip } from '../support/programs.ts';
import { run, say } from './build-steps.ts';

/**
 * `make container` creates the root file system that tests boot, once, with debootstrap
 * and apt.
 */
const { suite, base, tools } = containerSystem;
const root = containerRoot();

if (!existsSync(root)) {
  const obstacle = await build();
  if (obstacle !== undefined) say(`skipped: ${skip(`tests in a container: ${obstacle}`)}`);
}

/** Returns the reason if it cannot build one, or undefined. */
async function build(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'root is needed to make their root file system';
  const debootstrap = findProgram('debootstrap');
  if (debootstrap === undefined) return 'there is no debootstrap to make their root file system';
  mkdirSync(dirname(root), { recursive: true });
  // Builds under another name, because an interrupted build must not look complete.
  const unfinished = mkdtempSync(join(dirname(root), 'unfinished-'));
  try {
    say(`Making a Debian ${suite} for containers (1 of 2; once, about a minute) ...`);
    bootstrap(debootstrap, unfinished);
    say(`Installing ${tools.join(', ')} into it (2 of 2; about half a minute) ...`);
    await installTools(unfinished);
    settle(unfinished);
    renameSync(unfinished, root);
    return undefined;
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
}

/** Uses the default mirror of debootstrap. */
function bootstrap(debootstrap: string, target: string): void {
  const scripts = join(packagesDirectory, 'debootstrap/usr/share/debootstrap');
  run([
    ...(existsSync(scripts) ? ['env', `DEBOOTSTRAP_DIR=${scripts}`] : []),
    'sh',
    debootstrap,
    '--variant=minbase',
    `--include=${base.join(',')}`,
    suite,
    target,
  ]);
}

/** apt-get resolves alternative dependencies; debootstrap takes only the first one. */
async function installTools(target: string): Promise<void> {
  await copyFile('/etc/resolv.conf', join(target, 'etc/resolv.conf'));
  const quiet = ['env', 'DEBIAN_FRONTEND=noninteractive', 'LC_ALL=C.UTF-8'];
  const inside = ['chroot', target, ...quiet];
  run([...inside, 'apt-get', 'install', '--yes', '--no-install-recommends', ...tools]);
  run([...inside, 'apt-get', 'clean']);
}

/**
 * Removes the identity files that each container needs for itself, and masks the timers
 * that would disturb a test.
 */
function settle(target: string): void {
  for (const file of ['etc/hostname', 'etc/machine-id', 'etc/resolv.conf', 'var/lib/apt/lists']) {
    rmSync(join(target, file), { recursive: true, force: true });
  }
  for (const timer of [
    'apt-daily',
    'apt-daily-upgrade',
    'dpkg-db-backup',
    'e2scrub_all',
    'man-db',
  ]) {
    symlinkSync('/dev/null', join(target, `etc/systemd/system/${timer}.timer`));
  }
}
