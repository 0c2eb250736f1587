import { readFile, readdir, readlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { second } from '../core/instant.ts';

/** A kubelet that runs on this machine. */
export interface KubeletProcess {
  readonly pid: number;
  readonly parent: number;
  /** Its command line without the program. */
  readonly words: readonly string[];
  /** Milliseconds since the process started. */
  readonly ageMs: number;
  /** Relative paths on its command line start here. */
  readonly workingDirectory: string;
  /** The service of the process; absent if no service started it. */
  readonly unit?: string;
  /** Names of the variables in its environment. */
  readonly variables: readonly string[];
}

/**
 * Finds the kubelets of this machine by the name of the program. Excludes a kubelet in a
 * container, as in kind, because it has other files at the same paths.
 */
export async function findKubelets(proc = '/proc'): Promise<KubeletProcess[]> {
  const names = (await readdir(proc)).filter((name) => /^\d+$/.test(name));
  const mounts = await mountsOf(proc, 'self');
  const found = await Promise.all(names.map((pid) => readProcess({ proc, pid, mounts })));
  const kubelets = found.filter((kubelet) => kubelet !== undefined).sort((a, b) => a.pid - b.pid);
  // Between fork and exec, a child of the kubelet still has its command line.
  return kubelets.filter(({ parent }) => kubelets.every(({ pid }) => pid !== parent));
}

async function readProcess({
  proc,
  pid,
  mounts,
}: {
  readonly proc: string;
  readonly pid: string;
  readonly mounts: string | undefined;
}): Promise<KubeletProcess | undefined> {
  const [program = '', ...words] = await listIn(join(proc, pid, 'cmdline'));
  if (basename(program) !== 'kubelet' || (await mountsOf(proc, pid)) !== mounts) return undefined;
  const stat = await statOf(proc, pid);
  if (stat === undefined) return undefined;
  const unit = await unitOf(proc, pid);
  const environment = await listIn(join(proc, pid, 'environ'));
  return {
    pid: Number(pid),
    ...stat,
    words,
    workingDirectory: (await readlink(join(proc, pid, 'cwd')).catch(() => undefined)) ?? '/',
    ...(unit !== undefined && { unit }),
    variables: environment.map((variable) => variable.replace(/=[^]*$/, '')),
  };
}

/** Empty for a process that has ended, or that this user may not inspect. */
async function textOf(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}

async function listIn(path: string): Promise<string[]> {
  return (await textOf(path)).split('\0').slice(0, -1);
}

async function mountsOf(proc: string, pid: string): Promise<string | undefined> {
  return readlink(join(proc, pid, 'ns/mnt')).catch(() => undefined);
}

/** The kernel counts in hundredths of a second (proc_pid_stat(5)). */
const ticksPerSecond = 100;

/** Uses the uptime, which has hundredths of a second; `btime` has whole seconds. */
async function statOf(
  proc: string,
  pid: string,
): Promise<Pick<KubeletProcess, 'parent' | 'ageMs'> | undefined> {
  const stat = await textOf(join(proc, pid, 'stat'));
  // The name of the program, in parentheses, may contain anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const uptime = Number((await textOf(join(proc, 'uptime'))).split(' ')[0]);
  const ageMs = Math.ceil((uptime - Number(fields[19]) / ticksPerSecond) * second);
  return Number.isFinite(ageMs) ? { parent: Number(fields[1]), ageMs } : undefined;
}

/** From a line such as `0::/system.slice/kubelet.service`. */
async function unitOf(proc: string, pid: string): Promise<string | undefined> {
  const cgroups = await textOf(join(proc, pid, 'cgroup'));
  return /\/([^/\n]+\.service)(?:\/|$)/m.exec(cgroups)?.[1];
}
