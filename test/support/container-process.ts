import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { rmdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Child } from './child.ts';
import { containerRoot } from './container-root.ts';
import { findProgram, libraryEnvironment } from './programs.ts';

/** The processes of a container, seen from the host: see nspawn.ts. */
export interface ContainerOptions {
  /** Also the node name, unless the configuration sets one. */
  readonly hostName?: string;
  /** Files of the host that are mounted read-only: host paths by container paths. */
  readonly mounts?: Readonly<Record<string, string>>;
}

/**
 * The mount exists only in the container's mount namespace and needs no clean-up.
 * systemd-nspawn runs as the first process of a PID namespace, so the container's
 * systemd dies with it; otherwise it would stay behind. Each container has its own
 * control groups, so none mistakes another's services for its own.
 */
const start = `
set -e
name=$1 lower=$2 directory=$3; shift 3
for groups in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do
  [ -e "$groups" ] || continue
  mkdir -p "\${groups%/*}/$name"
  echo 0 2>/dev/null >"\${groups%/*}/$name/cgroup.procs" || true
done
mount -t overlay -o "lowerdir=$lower,upperdir=$directory/upper,workdir=$directory/work" overlay "$directory/root"
exec "$@"
`;

/**
 * `directory` contains the layer of the container in `upper`, and the other folders of
 * overlayfs.
 */
export function startContainer(
  directory: string,
  { hostName = 'worker-1', mounts = {} }: ContainerOptions,
): Child {
  const name = basename(directory);
  const nspawn = findProgram('systemd-nspawn') ?? 'systemd-nspawn';
  const libraries = Object.entries(libraryEnvironment(nspawn)).map((pair) => pair.join('='));
  const isolation = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
  const preparation = ['sh', '-c', start, 'sh', name, containerRoot(), directory];
  const command = [
    'env',
    ...libraries,
    nspawn,
    '--quiet',
    '--boot',
    `--directory=${join(directory, 'root')}`,
    `--machine=${name}`,
    `--hostname=${hostName}`,
    // The container does not use the systemd of the host, which may have none.
    '--register=no',
    '--keep-unit',
    '--link-journal=no',
    '--resolv-conf=copy-host',
    '--timezone=off',
    '--console=read-only',
    ...Object.entries(mounts).map(([inside, outside]) => `--bind-ro=${outside}:${inside}`),
  ];
  return new Child({
    name: 'the container',
    command: 'unshare',
    args: [...isolation, '--', ...preparation, ...command],
    logFile: join(directory, 'log'),
  });
}

/** The descendant with PID 1 in a PID namespace inside the one of systemd-nspawn. */
export function firstProcess(pid: number): number | undefined {
  const depth = namespacePids(pid).length;
  return descendants(pid).find((one) => {
    const pids = namespacePids(one);
    return pids.length === depth + 2 && pids.at(-1) === 1;
  });
}

function descendants(pid: number): number[] {
  const children = readProc(`${pid}/task/${pid}/children`).split(' ').filter(Boolean).map(Number);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

/** proc(5): the PID in each PID namespace, the outermost first. */
function namespacePids(pid: number): number[] {
  const line = /^NSpid:\s+(.*)$/m.exec(readProc(`${pid}/status`))?.[1] ?? '';
  return line.split(/\s+/).filter(Boolean).map(Number);
}

function readProc(path: string): string {
  try {
    return readFileSync(`/proc/${path}`, 'utf8');
  } catch {
    return '';
  }
}

/** Removes the files and cgroups that a container leaves outside of its folder, which would accumulate. */
export async function removeTraces(name: string): Promise<void> {
  const where = ['/sys/fs/cgroup', '-depth', '-type', 'd', '-path', `*/${name}*`];
  const { stdout } = spawnSync('find', where, { encoding: 'utf8' });
  const folders = [...stdout.split('\n').filter(Boolean), `/run/systemd/nspawn/propagate/${name}`];
  // Usually most of these do not exist. A failure here does no harm.
  for (const folder of folders) await rmdir(folder).catch(() => undefined);
}
