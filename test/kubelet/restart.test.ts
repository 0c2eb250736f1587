import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { restartService } from '../../src/kubelet/restart.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { FakeClock } from '../support/fake-clock.ts';

interface FakeSystemctl {
  readonly systemctl: string;
  readonly calls: () => Promise<string[]>;
}

/** A program that records its arguments, and runs a script for `systemctl show`. */
async function fakeSystemctl(context: TestContext, show: string): Promise<FakeSystemctl> {
  const directory = await temporaryDirectory(context);
  const calls = join(directory, 'calls');
  await writeFile(calls, '');
  const script = `#!/bin/sh\necho "$@" >> ${calls}\nif [ "$1" = show ]; then n=$(grep -c ^show ${calls}); ${show}; fi\n`;
  const systemctl = join(directory, 'systemctl');
  await writeFile(systemctl, script, { mode: 0o755 });
  return { systemctl, calls: async () => (await readFile(calls, 'utf8')).trim().split('\n') };
}

function state(active: string, sub: string, pid: string): string {
  return `printf 'ActiveState=${active}\\nSubState=${sub}\\nMainPID=%s\\n' "${pid}"`;
}

/** Runs the restart on a fake clock, and returns the milliseconds that it took. */
async function restart(
  { systemctl }: Pick<FakeSystemctl, 'systemctl'>,
  clock = new FakeClock(),
  signal = new AbortController().signal,
): Promise<number> {
  const work = { over: false };
  const result = restartService({ unit: 'kubelet.service', clock, signal, systemctl }).finally(
    () => {
      work.over = true;
    },
  );
  result.catch(() => undefined);
  while (!work.over) {
    if (clock.sleeping > 0) await clock.advance(1_000);
    await setImmediate();
  }
  await result;
  return clock.elapsed();
}

test('restartService() waits until one process has been active for ten seconds', async (t) => {
  const fake = await fakeSystemctl(t, state('active', 'running', '7'));
  assert.equal(await restart(fake), 10_000);
  assert.deepEqual((await fake.calls()).slice(0, 3), [
    'reset-failed kubelet.service',
    'restart kubelet.service',
    'show kubelet.service -pActiveState -pSubState -pMainPID',
  ]);
});

test('restartService() restarts the ten seconds with each process', async (t) => {
  // The first three calls find another process each.
  const fake = await fakeSystemctl(
    t,
    `[ $n -lt 4 ] && p=$n || p=4; ${state('active', 'running', '$p')}`,
  );
  assert.equal(await restart(fake), 13_000);
});

test('restartService() rejects a service that systemd restarts again and again', async (t) => {
  const fake = await fakeSystemctl(
    t,
    `if [ $((n % 5)) = 0 ]; then ${state('active', 'running', '$n')}; else ${state('activating', 'auto-restart', '0')}; fi`,
  );
  await assert.rejects(restart(fake), {
    code: 'KUBELET_RESTART',
    message: /^kubelet\.service did not stay up after its restart: act/,
    remedy: 'Check the log of the kubelet: journalctl -u kubelet.service -n 50',
  });
});

test('restartService() rejects at once when systemd gives up', async (t) => {
  const fake = await fakeSystemctl(t, state('failed', 'failed', '0'));
  await assert.rejects(restart(fake), { message: /restart: failed \(failed\)$/ });
  assert.equal((await fake.calls()).length, 3);
});

test('restartService() quotes the error of systemctl', async (t) => {
  const fake = await fakeSystemctl(t, 'echo "Unit kubelet.service not found." >&2; exit 5');
  await assert.rejects(restart(fake), {
    code: 'KUBELET_RESTART',
    message: 'systemctl show kubelet.service failed: Unit kubelet.service not found.',
  });
});

test('restartService() reports a missing systemctl', async () => {
  await assert.rejects(restart({ systemctl: '/nonexistent/systemctl' }), {
    code: 'KUBELET_RESTART',
    message: /systemctl is not installed/,
  });
});

test('restartService() rejects with ABORTED when it is aborted', async (t) => {
  const fake = await fakeSystemctl(t, state('activating', 'auto-restart', '0'));
  const stop = new AbortController();
  class Stopping extends FakeClock {
    override elapsed(): number {
      if (super.elapsed() >= 3_000) stop.abort();
      return super.elapsed();
    }
  }
  await assert.rejects(restart(fake, new Stopping(), stop.signal), { code: 'ABORTED' });
});
