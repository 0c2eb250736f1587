import { readFile, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { second } from '../core/instant.ts';

/** A process that runs on this machine. */
export interface Process {
  readonly pid: number;
  readonly parent: number;
  /** The command line, which starts with the program. */
  readonly command: readonly string[];
  /** Milliseconds since the process started. */
  readonly ageMs: number;
  /** When the process started, in hundredths of a second after the boot. Unlike a pid, it is not used again. */
  readonly startTicks: number;
  /** Relative paths on its command line start here. */
  readonly workingDirectory: string;
  /** The service of the process; absent if no service started it. */
  readonly unit?: string;
  /** The cgroups, one on each line, as in /proc/PID/cgroup. */
  readonly cgroups: string;
  /** A value may be a secret. */
  readonly environment: ReadonlyMap<string, string>;
  /** False for a process in a container, which has other files at the same paths. */
  readonly sharesMounts: boolean;
  /** False for a process that has other network interfaces and ports than this one. */
  readonly sharesNetwork: boolean;
}

/** Finds the processes whose command line is wanted, in the order of their ids. */
export async function findProcesses(
  isWanted: (command: readonly string[]) => boolean,
  proc = '/proc',
): Promise<Process[]> {
  const names = (await readdir(proc)).filter((name) => /^\d+$/.test(name));
  const own = await namespacesOf(proc, 'self');
  const found = names.map(async (pid) => {
    const command = await listIn(join(proc, pid, 'cmdline'));
    return isWanted(command) ? readProcess({ proc, pid, command, own }) : undefined;
  });
  const processes = (await Promise.all(found)).filter((process) => process !== undefined);
  processes.sort((a, b) => a.pid - b.pid);
  // Between fork and exec, a child still has the command line of its parent.
  return processes.filter(({ parent }) => processes.every(({ pid }) => pid !== parent));
}

async function readProcess({
  proc,
  pid,
  command,
  own,
}: {
  readonly proc: string;
  readonly pid: string;
  readonly command: readonly string[];
  readonly own: Namespaces;
}): Promise<Process | undefined> {
  const stat = await statOf(proc, pid);
  if (stat === undefined) return undefined;
  const cgroups = await textOf(join(proc, pid, 'cgroup'));
  const unit = unitIn(cgroups);
  const { mounts, network } = await namespacesOf(proc, pid);
  return {
    pid: Number(pid),
    ...stat,
    command,
    workingDirectory: (await readlink(join(proc, pid, 'cwd')).catch(() => undefined)) ?? '/',
    ...(unit !== undefined && { unit }),
    cgroups,
    environment: new Map((await listIn(join(proc, pid, 'environ'))).map(assignment)),
    sharesMounts: mounts === own.mounts,
    sharesNetwork: network === own.network,
  };
}

function assignment(variable: string): [name: string, value: string] {
  const at = variable.indexOf('=');
  return at === -1 ? [variable, ''] : [variable.slice(0, at), variable.slice(at + 1)];
}

/** Empty for a process that has ended, or that this user may not inspect. */
async function textOf(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}

async function listIn(path: string): Promise<string[]> {
  return (await textOf(path)).split('\0').slice(0, -1);
}

interface Namespaces {
  /** `mnt:[4026531841]`; undefined for a process that this user may not inspect. */
  readonly mounts: string | undefined;
  readonly network: string | undefined;
}

async function namespacesOf(proc: string, pid: string): Promise<Namespaces> {
  const [mounts, network] = await Promise.all(
    ['mnt', 'net'].map((name) => readlink(join(proc, pid, 'ns', name)).catch(() => undefined)),
  );
  return { mounts, network };
}

/** The kernel counts in hundredths of a second (proc_pid_stat(5)). */
const ticksPerSecond = 100;

/** Uses the uptime, which has hundredths of a second; `btime` has whole seconds. */
async function statOf(
  proc: string,
  pid: string,
): Promise<Pick<Process, 'parent' | 'ageMs' | 'startTicks'> | undefined> {
  const stat = await textOf(join(proc, pid, 'stat'));
  // The name of the program, in parentheses, may contain anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const uptime = Number((await textOf(join(proc, 'uptime'))).split(' ')[0]);
  const startTicks = Number(fields[19]);
  const ageMs = Math.ceil((uptime - startTicks / ticksPerSecond) * second);
  return Number.isFinite(ageMs) ? { parent: Number(fields[1]), ageMs, startTicks } : undefined;
}

/** From a line such as `0::/system.slice/kubelet.service`. */
function unitIn(cgroups: string): string | undefined {
  return /\/([^/\n]+\.service)(?:\/|$)/m.exec(cgroups)?.[1];
}
