import { readFileSync, rmSync, rmdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Child } from './child.ts';
import { containerRoot } from './container-root.ts';
import { removeControlGroups } from './control-groups.ts';
import { findProgram, libraryEnvironment } from './programs.ts';

/** The processes of a container, seen from the host: see nspawn.ts. */
export interface ContainerOptions {
  /** Also the node name, unless the configuration sets one. */
  readonly hostName?: string;
  /** Files of the host that are mounted read-only: host paths by container paths. */
  readonly mounts?: Readonly<Record<string, string>>;
  /** Where the container keeps its files on the host; otherwise in the temporary folder. */
  readonly parent?: string;
  /** Layers over the root, the uppermost first. */
  readonly layers?: readonly string[];
  /** Folders of the container that lie on the file system of the host, not on overlayfs. */
  readonly folders?: readonly string[];
  /** For a container that runs containers itself. */
  readonly runtime?: {
    /** A process whose network namespace the container uses instead of that of the host. */
    readonly network: number;
  };
}

/** Begins the names of the folders of containers. */
export const namePrefix = 'nodecertd-container-';

/**
 * The mount exists only in the container's mount namespace and needs no clean-up.
 * systemd-nspawn runs as the first process of a PID namespace, so the container's
 * systemd dies with it; otherwise it would stay behind. Each container has its own
 * control groups, so none mistakes another's services for its own. A new cpuset is empty
 * in version 1 of control groups, and accepts no process.
 */
const start = `
set -e
name=$1 lower=$2 directory=$3; shift 3
for groups in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do
  [ -e "$groups" ] || continue
  group=\${groups%/*}/$name
  mkdir -p "$group"
  for set in cpuset.cpus cpuset.mems; do
    [ ! -e "\${groups%/*}/$set" ] || cat "\${groups%/*}/$set" >"$group/$set"
  done
  echo 0 2>/dev/null >"$group/cgroup.procs" || true
done
mount -t overlay -o "lowerdir=$lower,upperdir=$directory/upper,workdir=$directory/work" overlay "$directory/root"
exec "$@"
`;

/**
 * `directory` contains the layer of the container in `upper`, the other folders of
 * overlayfs, and `folders`. The container dies with this process, even by SIGKILL.
 */
export function startContainer(directory: string, options: ContainerOptions): Child {
  const { layers = [], runtime } = options;
  const lower = [...layers, containerRoot()].join(':');
  const network = runtime && ['nsenter', `--net=/proc/${runtime.network}/ns/net`, '--'];
  const isolation = ['unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', '--'];
  const preparation = ['sh', '-c', start, 'sh', basename(directory), lower, directory];
  return new Child({
    name: 'the container',
    command: dyingWithParent[0],
    args: [
      ...dyingWithParent.slice(1),
      ...(network ?? []),
      ...isolation,
      ...preparation,
      ...nspawn(directory, options),
    ],
    logFile: join(directory, 'log'),
  });
}

/** Begins a command that also ends when this process is killed with SIGKILL. */
export const dyingWithParent = ['setpriv', '--pdeathsig', 'KILL', '--'] as const;

function nspawn(
  directory: string,
  { hostName = 'worker-1', mounts = {}, folders = [], runtime }: ContainerOptions,
): string[] {
  const program = findProgram('systemd-nspawn') ?? 'systemd-nspawn';
  const environment = {
    ...libraryEnvironment(program),
    // Leaves /proc/sys/net writable, and nothing else of /proc/sys, which belongs to the machine.
    ...(runtime !== undefined && { SYSTEMD_NSPAWN_API_VFS_WRITABLE: 'network' }),
  };
  return [
    'env',
    ...Object.entries(environment).map((pair) => pair.join('=')),
    program,
    '--quiet',
    '--boot',
    `--directory=${join(directory, 'root')}`,
    `--machine=${basename(directory)}`,
    `--hostname=${hostName}`,
    // The container does not use the systemd of the host, which may have none.
    '--register=no',
    '--keep-unit',
    '--link-journal=no',
    '--timezone=off',
    '--console=read-only',
    ...(runtime === undefined ? ['--resolv-conf=copy-host'] : runtimeFlags),
    ...Object.entries(mounts).map(([inside, outside]) => `--bind-ro=${outside}:${inside}`),
    ...folders.map((folder) => `--bind=${join(directory, 'folders', folder)}:${folder}`),
  ];
}

const runtimeFlags = [
  '--resolv-conf=off',
  '--network-namespace-path=/proc/self/ns/net',
  '--capability=all',
  '--system-call-filter=add_key keyctl bpf perf_event_open',
];

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

/** Removes the files and cgroups of a container whose processes are killed. */
export function removeContainer(directory: string): void {
  const name = basename(directory);
  removeControlGroups(name);
  try {
    rmdirSync(`/run/systemd/nspawn/propagate/${name}`);
  } catch {
    // Only some containers have it, and it does no harm.
  }
  rmSync(directory, { recursive: true, force: true });
}
