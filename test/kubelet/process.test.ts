import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { realpath } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import type { TestContext } from 'node:test';
import { test } from 'node:test';
import { findKubelets } from '../../src/kubelet/process.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { fakeProc } from '../sys/fake-proc.ts';

/** A process with the name kubelet, which is killed after the test. */
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

test('findKubelets() reads flags, age and variable names of a running kubelet', async (t) => {
  const before = performance.now();
  const child = await startKubelet(t, '--config=/c.yaml', '--kubeconfig', '/k');
  const found = (await findKubelets()).find(({ pid }) => pid === child.pid);
  const elapsed = performance.now() - before;
  assert.ok(found !== undefined);
  assert.deepEqual(found.command.slice(-3), ['--config=/c.yaml', '--kubeconfig', '/k']);
  // The kernel rounds both times to hundredths of a second.
  assert.ok(found.ageMs >= 0 && found.ageMs <= elapsed + 20, String(found.ageMs));
  assert.equal(found.workingDirectory, await realpath(tmpdir()));
  assert.deepEqual([...found.environment], [['KUBELET_CONFIG_DROPIN_DIR_ALPHA', 'secret']]);
});

test('findKubelets() skips kubelets of containers, and children before exec', async (t) => {
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
  assert.deepEqual(await findKubelets(directory), [
    {
      pid: 10,
      parent: 1,
      ageMs: 75_000,
      startTicks: 2_500,
      command: ['kubelet', '--v=2'],
      workingDirectory: '/',
      unit: 'kubelet.service',
      cgroups: cgroup,
      environment: new Map(),
      sharesMounts: true,
      sharesNetwork: true,
    },
  ]);
});

test('findKubelets() names the service of a kubelet, for both cgroup versions', async (t) => {
  const directory = await temporaryDirectory(t);
  const kubelet = { cmdline: 'kubelet\0', mounts: 'mnt:[1]', parent: 1 };
  await fakeProc(directory, {
    self: { ...kubelet, cgroup: '' },
    10: { ...kubelet, cgroup: '12:pids:/\n1:name=systemd:/system.slice/rke2-agent.service\n' },
    20: { ...kubelet, cgroup: '0::/system.slice/kubelet.service/sub\n' },
    30: { ...kubelet, cgroup: '0::/user.slice\n' },
  });
  const found = await findKubelets(directory);
  assert.deepEqual(
    found.map(({ unit }) => unit),
    ['rke2-agent.service', 'kubelet.service', undefined],
  );
});
