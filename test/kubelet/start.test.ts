import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import type { KubeletPlaces } from '../../src/kubelet/start.ts';
import { findKubeletStart } from '../../src/kubelet/start.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { fakeProc } from '../sys/fake-proc.ts';
import { fakeSystemctl, shownUnit } from '../sys/fake-systemctl.ts';

const mounts = 'mnt:[1]';
const self = { cmdline: 'node\0', mounts, parent: 1, cgroup: '' };
const kubelet = { ...self, cmdline: 'kubelet\0--config=/p\0', cgroup: '0::/s/kubelet.service\n' };
const loaded = shownUnit({ exec: '/usr/bin/kubelet --config=/s' });

async function places(
  context: TestContext,
  processes: Parameters<typeof fakeProc>[1],
  shown = loaded,
): Promise<KubeletPlaces> {
  const proc = await temporaryDirectory(context);
  await fakeProc(proc, { self, ...processes });
  return { proc, systemctl: await fakeSystemctl(context, shown) };
}

describe('findKubeletStart()', () => {
  it('reads the flags of a running kubelet, and those of its next start', async (context) => {
    const start = await findKubeletStart(await places(context, { 7: kubelet }));
    assert.deepEqual([start.source, start.unit], ['process', 'kubelet.service']);
    assert.equal(start.commandLine, '/proc/7/cmdline');
    assert.deepEqual(start.flags, [{ name: 'config', value: '/p' }]);
    assert.deepEqual(start.nextFlags, [{ name: 'config', value: '/s' }]);
    assert.deepEqual(start.running, { pid: 7, ageMs: 75_000 });
    assert.equal(start.several, undefined);
  });

  it('reads the service of a kubelet that does not run', async (context) => {
    const start = await findKubeletStart(await places(context, {}));
    assert.deepEqual([start.source, start.commandLine], ['service', 'kubelet.service']);
    assert.deepEqual(start.flags, [{ name: 'config', value: '/s' }]);
    assert.equal(start.running, undefined);
  });

  it('does not mix a kubelet that was started by hand with the service', async (context) => {
    const byHand = { ...kubelet, cgroup: '0::/user.slice\n' };
    const start = await findKubeletStart(await places(context, { 7: byHand }));
    assert.deepEqual(
      [start.source, start.unit, start.nextFlags],
      ['process', undefined, undefined],
    );
  });

  it('returns the reason why the command line of a service is uncertain', async (context) => {
    const shell = shownUnit({ exec: '/bin/sh -c kubelet' });
    const stopped = await findKubeletStart(await places(context, {}, shell));
    assert.deepEqual([stopped.source, stopped.unit], ['unknown', 'kubelet.service']);
    assert.match(stopped.unclear ?? '', /\/bin\/sh/);
    const running = await findKubeletStart(await places(context, { 7: kubelet }, shell));
    assert.deepEqual([running.source, running.nextFlags], ['process', undefined]);
  });

  it('finds nothing without a process and a service', async (context) => {
    const start = await findKubeletStart(await places(context, {}, 'LoadState=not-found\n'));
    assert.deepEqual([start.source, start.unit, start.unclear], ['unknown', undefined, undefined]);
  });

  it('names all of several kubelets', async (context) => {
    const start = await findKubeletStart(await places(context, { 7: kubelet, 9: kubelet }));
    assert.deepEqual(start.several, [7, 9]);
  });
});
