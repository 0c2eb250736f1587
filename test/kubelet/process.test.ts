import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, realpath, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { test } from 'node:test';
import { findKubelets } from '../../src/kubelet/process.ts';
import { temporaryDirectory } from '../store/pairs.ts';

/** A process that calls itself kubelet, until the test ends. */
async function startKubelet(context: TestContext, ...flags: string[]): Promise<ChildProcess> {
  const script = 'process.stdout.write("up"); setInterval(() => {}, 1e6)';
  const child = spawn(process.execPath, ['-e', script, '--', ...flags], {
    argv0: '/usr/bin/kubelet',
    cwd: tmpdir(),
    env: { KUBELET_CONFIG_DROPIN_DIR_ALPHA: 'secret' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  context.after(async () => {
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  await once(child.stdout ?? child, 'data');
  return child;
}

test('findKubelets() finds a running kubelet with its flags, its start and the names of its variables', async (t) => {
  const before = Date.now();
  const child = await startKubelet(t, '--config=/c.yaml', '--kubeconfig', '/k');
  const now = Date.now();
  const found = (await findKubelets(now)).find(({ pid }) => pid === child.pid);
  // The time since the start of the machine is read somewhat later than `now`.
  const late = Date.now() - now;
  assert.ok(found !== undefined);
  assert.deepEqual(
    found.words.slice(-3).map(({ text, origin }) => [text, origin]),
    ['--config=/c.yaml', '--kubeconfig', '/k'].map((text) => [
      text,
      { kind: 'process', pid: child.pid },
    ]),
  );
  // The kernel's hundredths on both sides.
  const { startedAt } = found;
  assert.ok(startedAt >= before - late - 20 && startedAt <= now + 20, String(startedAt));
  assert.equal(found.workingDirectory, await realpath(tmpdir()));
  assert.deepEqual(found.variables, ['KUBELET_CONFIG_DROPIN_DIR_ALPHA']);
});

/** The parts of /proc that are read, for one process. */
async function fakeProc(
  directory: string,
  processes: Readonly<
    Record<string, { cmdline: string; mounts: string; parent: number; cgroup: string }>
  >,
): Promise<void> {
  await writeFile(join(directory, 'uptime'), '100.00 1.00\n');
  for (const [pid, { cmdline, mounts, parent, cgroup }] of Object.entries(processes)) {
    const folder = join(directory, pid);
    await mkdir(join(folder, 'ns'), { recursive: true });
    await symlink(mounts, join(folder, 'ns/mnt'));
    await writeFile(join(folder, 'cmdline'), cmdline);
    await writeFile(join(folder, 'cgroup'), cgroup);
    const fields = ['S', parent, ...Array.from({ length: 17 }, () => 0), 2_500];
    await writeFile(join(folder, 'stat'), `${pid} (a) b) ${fields.join(' ')} 0\n`);
  }
}

test('findKubelets() leaves out the kubelets of containers and children that look like their parent', async (t) => {
  const directory = await temporaryDirectory(t);
  const kubelet = { cmdline: 'kubelet\0--v=2\0', mounts: 'mnt:[1]', parent: 1 };
  const cgroup = '0::/system.slice/kubelet.service\n';
  await fakeProc(directory, {
    self: { ...kubelet, cgroup: '' },
    10: { ...kubelet, cgroup },
    11: { ...kubelet, parent: 10, cgroup },
    12: { ...kubelet, mounts: 'mnt:[2]', cgroup: '0::/docker/abc/kubelet.slice/kubelet.service\n' },
    13: { ...kubelet, cmdline: 'kubelet-exporter\0', cgroup },
    14: { ...kubelet, cmdline: '', cgroup },
  });
  const now = Date.UTC(2026, 0, 1);
  assert.deepEqual(await findKubelets(now, directory), [
    {
      pid: 10,
      parent: 1,
      startedAt: now - 75_000,
      words: [{ text: '--v=2', origin: { kind: 'process', pid: 10 } }],
      workingDirectory: '/',
      unit: 'kubelet.service',
      variables: [],
    },
  ]);
});

test('findKubelets() names the service that a kubelet belongs to, by either form of control groups', async (t) => {
  const directory = await temporaryDirectory(t);
  const kubelet = { cmdline: 'kubelet\0', mounts: 'mnt:[1]', parent: 1 };
  await fakeProc(directory, {
    self: { ...kubelet, cgroup: '' },
    10: { ...kubelet, cgroup: '12:pids:/\n1:name=systemd:/system.slice/rke2-agent.service\n' },
    20: { ...kubelet, cgroup: '0::/system.slice/kubelet.service/sub\n' },
    30: { ...kubelet, cgroup: '0::/user.slice\n' },
  });
  const found = await findKubelets(0, directory);
  assert.deepEqual(
    found.map(({ unit }) => unit),
    ['rke2-agent.service', 'kubelet.service', undefined],
  );
});
