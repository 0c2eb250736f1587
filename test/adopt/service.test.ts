import assert from 'node:assert/strict';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { restartService } from '../../src/adopt/service.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** A program in the place of systemctl: writes down what it is told, and runs `show` for a look. */
async function systemctl(context: TestContext, show: string): Promise<() => Promise<string[]>> {
  const directory = await temporaryDirectory(context);
  const calls = join(directory, 'calls');
  await writeFile(calls, '');
  const script = `#!/bin/sh\necho "$@" >> ${calls}\nif [ "$1" = show ]; then n=$(grep -c ^show ${calls}); ${show}; fi\n`;
  await writeFile(join(directory, 'systemctl'), script);
  await chmod(join(directory, 'systemctl'), 0o755);
  const { PATH } = process.env;
  process.env['PATH'] = `${directory}${delimiter}${PATH}`;
  context.after(() => {
    process.env['PATH'] = PATH;
  });
  return async () => (await readFile(calls, 'utf8')).trim().split('\n');
}

function state(active: string, sub: string, pid: string): string {
  return `printf 'ActiveState=${active}\\nSubState=${sub}\\nMainPID=%s\\n' "${pid}"`;
}

/** Runs the restart while its time passes, and says how long it took. */
async function restart(
  clock = new FakeClock(),
  signal = new AbortController().signal,
): Promise<number> {
  const work = { over: false };
  const result = restartService({ unit: 'kubelet.service', clock, signal }).finally(() => {
    work.over = true;
  });
  result.catch(() => undefined);
  while (!work.over) {
    if (clock.sleeping > 0) await clock.advance(1_000);
    await setImmediate();
  }
  await result;
  return clock.elapsed();
}

test('restartService() waits until one process has stayed for ten seconds', async (t) => {
  const calls = await systemctl(t, state('active', 'running', '7'));
  assert.equal(await restart(), 10_000);
  assert.deepEqual((await calls()).slice(0, 3), [
    'reset-failed kubelet.service',
    'restart kubelet.service',
    'show kubelet.service -pActiveState -pSubState -pMainPID',
  ]);
});

test('restartService() begins to count anew with each process', async (t) => {
  // The first three looks find another process each.
  await systemctl(t, `[ $n -lt 4 ] && p=$n || p=4; ${state('active', 'running', '$p')}`);
  assert.equal(await restart(), 13_000);
});

test('restartService() takes no service for up that is started again and again', async (t) => {
  await systemctl(
    t,
    `if [ $((n % 5)) = 0 ]; then ${state('active', 'running', '$n')}; else ${state('activating', 'auto-restart', '0')}; fi`,
  );
  await assert.rejects(restart(), {
    code: 'KUBELET_RESTART',
    message: /^kubelet\.service does not stay up after its restart: act/,
    remedy: 'journalctl -u kubelet.service -n 50',
  });
});

test('restartService() does not wait for a service that systemd has given up', async (t) => {
  const calls = await systemctl(t, state('failed', 'failed', '0'));
  await assert.rejects(restart(), { message: /restart: failed \(failed\)$/ });
  assert.equal((await calls()).length, 3);
});

test('restartService() says what systemctl said', async (t) => {
  await systemctl(t, 'echo "Unit kubelet.service not found." >&2; exit 5');
  await assert.rejects(restart(), {
    code: 'KUBELET_RESTART',
    message: /^systemctl show .* failed: Unit kubelet\.service not found\.$/,
  });
});

test('restartService() says that there is no systemctl', async (t) => {
  const { PATH } = process.env;
  process.env['PATH'] = await temporaryDirectory(t);
  try {
    await assert.rejects(restart(), { code: 'KUBELET_RESTART', message: /it is not installed/ });
  } finally {
    process.env['PATH'] = PATH;
  }
});

test('restartService() stops waiting when it is told to', async (t) => {
  await systemctl(t, state('activating', 'auto-restart', '0'));
  const stop = new AbortController();
  class Stopping extends FakeClock {
    override elapsed(): number {
      if (super.elapsed() >= 3_000) stop.abort();
      return super.elapsed();
    }
  }
  await assert.rejects(restart(new Stopping(), stop.signal), { code: 'ABORTED' });
});
