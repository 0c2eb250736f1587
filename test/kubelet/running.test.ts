import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { findRunningKubelet } from '../../src/kubelet/running.ts';
import type { KubeletPlaces } from '../../src/kubelet/start.ts';
import { monotonicUptime } from '../../src/sys/uptime.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { fakeProc } from '../sys/fake-proc.ts';
import { fakeSystemctl } from '../sys/fake-systemctl.ts';

const now = Date.UTC(2026, 10, 29);
const self = { cmdline: 'node\0', mounts: 'mnt:[1]', parent: 1, cgroup: '' };
const kubelet = { ...self, cmdline: 'kubelet\0', cgroup: '0::/s/kubelet.service\n' };
const missing = 'LoadState=not-found\n';

function shown(pid: number): string {
  const started = Math.round(monotonicUptime() - 60_000) * 1_000;
  return `LoadState=loaded\nMainPID=${pid}\nInvocationID=abc\nExecMainStartTimestampMonotonic=${started}\n`;
}

async function places(
  context: TestContext,
  processes: Parameters<typeof fakeProc>[1],
  service: string,
): Promise<KubeletPlaces> {
  const proc = await temporaryDirectory(context);
  await fakeProc(proc, { self, ...processes });
  return { proc, systemctl: await fakeSystemctl(context, service) };
}

describe('findRunningKubelet()', () => {
  for (const [what, processes] of [
    ['a kubelet of a service', { 7: kubelet }],
    ['a kubelet whose process is hidden', {}],
  ] as const) {
    it(`identifies ${what} by the invocation of the service`, async (context) => {
      const found = await findRunningKubelet(await places(context, processes, shown(7)), now);
      assert.ok(found.kind === 'running');
      assert.deepEqual([found.instance, found.unit], ['abc', 'kubelet.service']);
      // The rest is the time that this test takes.
      const age = now - found.startedAt;
      assert.ok(age >= 59_999 && age < 90_000, String(age));
    });
  }

  it('identifies a kubelet without a service by its pid and its start', async (context) => {
    const processes = { 7: { ...kubelet, cgroup: '0::/user.slice\n' } };
    const found = await findRunningKubelet(await places(context, processes, missing), now);
    const startedAt = now - 75_000;
    assert.deepEqual(found, { kind: 'running', instance: '7:2500', startedAt });
  });

  it('does not take the service of a test runner for the service of the kubelet', async (context) => {
    const found = await findRunningKubelet(await places(context, { 7: kubelet }, shown(9)), now);
    assert.equal(found.kind === 'running' && found.instance, '7:2500');
  });

  it('reports a stopped service, and a machine without a kubelet', async (context) => {
    const stopped = await findRunningKubelet(await places(context, {}, shown(0)), now);
    assert.equal(stopped.kind, 'stopped');
    const none = await findRunningKubelet(await places(context, {}, missing), now);
    assert.equal(none.kind, 'unknown');
  });
});
