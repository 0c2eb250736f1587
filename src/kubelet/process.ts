import { readFile, readdir, readlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { second } from '../core/instant.ts';
import type { Instant } from '../core/instant.ts';
import type { CommandWord } from './command-word.ts';

/** A kubelet that runs on this machine. */
export interface KubeletProcess {
  readonly pid: number;
  readonly parent: number;
  /** Without the program itself. */
  readonly words: readonly CommandWord[];
  readonly startedAt: Instant;
  /** What relative paths of its command line start from. */
  readonly workingDirectory: string;
  /** The service that it belongs to; absent when it is started by something else. */
  readonly unit?: string;
  readonly variables: readonly string[];
}

/**
 * The kubelets of this machine, by the name of the program. Those of containers, as kind
 * and others have them, see other files under the same paths, and are left out.
 */
export async function findKubelets(now: Instant, proc = '/proc'): Promise<KubeletProcess[]> {
  const names = (await readdir(proc)).filter((name) => /^\d+$/.test(name));
  const where = { proc, now, mounts: await mountsOf(proc, 'self') };
  const found = await Promise.all(names.map((pid) => lookAt(where, pid)));
  const kubelets = found.filter((kubelet) => kubelet !== undefined).sort((a, b) => a.pid - b.pid);
  // A child that is about to become another program still looks like its parent.
  return kubelets.filter(({ parent }) => kubelets.every(({ pid }) => pid !== parent));
}

interface Where {
  readonly proc: string;
  readonly now: Instant;
  readonly mounts: string | undefined;
}

async function lookAt(where: Where, pid: string): Promise<KubeletProcess | undefined> {
  const { proc, mounts } = where;
  const [program = '', ...rest] = await listIn(join(proc, pid, 'cmdline'));
  if (basename(program) !== 'kubelet' || (await mountsOf(proc, pid)) !== mounts) return undefined;
  const origin = { kind: 'process', pid: Number(pid) } as const;
  const stat = await statOf(where, pid);
  if (stat === undefined) return undefined;
  const unit = await unitOf(proc, pid);
  const environment = await listIn(join(proc, pid, 'environ'));
  return {
    pid: Number(pid),
    ...stat,
    words: rest.map((text) => ({ text, origin })),
    workingDirectory: (await readlink(join(proc, pid, 'cwd')).catch(() => undefined)) ?? '/',
    ...(unit !== undefined && { unit }),
    variables: environment.map((variable) => variable.replace(/=[^]*$/, '')),
  };
}

/** The process may end, or belong to somebody else, while it is looked at. */
async function textOf(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}

async function listIn(path: string): Promise<string[]> {
  return (await textOf(path)).split('\0').slice(0, -1);
}

async function mountsOf(proc: string, pid: string): Promise<string | undefined> {
  return readlink(join(proc, pid, 'ns/mnt')).catch(() => undefined);
}

/** The kernel counts in hundredths of a second for programs (proc_pid_stat(5)). */
const ticksPerSecond = 100;

/** By the time since the machine started, which has hundredths; `btime` has whole seconds. */
async function statOf(
  { proc, now }: Where,
  pid: string,
): Promise<Pick<KubeletProcess, 'parent' | 'startedAt'> | undefined> {
  const stat = await textOf(join(proc, pid, 'stat'));
  // The name of the program, in parentheses, may contain anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const uptime = Number((await textOf(join(proc, 'uptime'))).split(' ')[0]);
  const startedAt = now - (uptime - Number(fields[19]) / ticksPerSecond) * second;
  if (!Number.isFinite(startedAt)) return undefined;
  return { parent: Number(fields[1]), startedAt: Math.floor(startedAt) };
}

/** `0::/system.slice/kubelet.service` */
async function unitOf(proc: string, pid: string): Promise<string | undefined> {
  const cgroups = await textOf(join(proc, pid, 'cgroup'));
  return /\/([^/\n]+\.service)(?:\/|$)/m.exec(cgroups)?.[1];
}
