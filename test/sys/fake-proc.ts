import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface FakeProcess {
  readonly cmdline: string;
  readonly mounts: string;
  readonly parent: number;
  readonly cgroup: string;
  readonly network?: string;
  readonly environ?: string;
  readonly mountinfo?: string;
  /** By default 75. */
  readonly ageSeconds?: number;
}

/** The files below /proc that findProcesses() reads. The machine has run for 100 seconds. */
export async function fakeProc(
  directory: string,
  processes: Readonly<Record<string, FakeProcess>>,
): Promise<void> {
  await writeFile(join(directory, 'uptime'), '100.00 1.00\n');
  for (const [pid, process] of Object.entries(processes)) {
    const { cmdline, mounts, parent, cgroup, network = 'net:[1]', environ, mountinfo } = process;
    const { ageSeconds = 75 } = process;
    const folder = join(directory, pid);
    await mkdir(join(folder, 'ns'), { recursive: true });
    await symlink(mounts, join(folder, 'ns/mnt'));
    await symlink(network, join(folder, 'ns/net'));
    await writeFile(join(folder, 'cmdline'), cmdline);
    if (environ !== undefined) await writeFile(join(folder, 'environ'), environ);
    if (mountinfo !== undefined) await writeFile(join(folder, 'mountinfo'), mountinfo);
    await writeFile(join(folder, 'cgroup'), cgroup);
    const fields = ['S', parent, ...Array.from({ length: 17 }, () => 0), 10_000 - 100 * ageSeconds];
    await writeFile(join(folder, 'stat'), `${pid} (a) b) ${fields.join(' ')} 0\n`);
  }
}
