import assert from 'node:assert/strict';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { PostRotation } from '../../src/keeper/post-rotation.ts';
import type { HookRecords } from '../../src/keeper/hook-journal.ts';
import { HookJournal } from '../../src/keeper/hook-journal.ts';
import { hookEnvironment } from '../../src/core/hooks.ts';
import { hour, second } from '../../src/core/instant.ts';
import { pairFor, servingTemplate, start } from '../core/fixtures.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { RecordingLogger, RecordingObserver, until } from './fixtures.ts';

const name = 'kubelet-server';
const pair = pairFor(servingTemplate, { serial: 'a' });

describe('PostRotation', () => {
  let directory: string;
  let logger: RecordingLogger;
  let records: HookRecords;
  let opened: PostRotation | undefined;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nodecertd-after-'));
    await writeFile(join(directory, 'config.yaml'), 'one', { mode: 0o644 });
    logger = new RecordingLogger();
    records = {};
    opened = undefined;
  });
  afterEach(async () => {
    await opened?.stop();
    await rm(directory, { recursive: true });
  });

  /** The hook of the serving certificate writes the serial to a file. */
  async function open(earlier: HookRecords = {}): Promise<PostRotation> {
    records = earlier;
    const argv = ['/bin/sh', '-c', `echo $NODECERTD_SERIAL >> ${join(directory, 'log')}`];
    const hook = { kind: 'command', argv, timeoutMs: 30 * second, retries: 0 } as const;
    opened = await PostRotation.open({
      file: join(directory, 'config.yaml'),
      targets: [
        { name, hooks: [hook], environment: (pair) => hookEnvironment(name, '/pki', pair) },
      ],
      clock: new FakeClock(start),
      random: () => 0.5,
      logger,
      observer: new RecordingObserver(),
      journal: new HookJournal(earlier, (saved) => {
        records = saved;
      }),
    });
    return opened;
  }

  async function traces(): Promise<string> {
    await until('the hook is done', () => logger.all('hook_succeeded').length > 0);
    return readFile(join(directory, 'log'), 'utf8');
  }

  it('stored() runs the hooks of the certificate', async () => {
    const postRotation = await open();
    postRotation.stored(name, pair);
    assert.equal(await traces(), 'a\n');
    assert.equal(postRotation.status(name).hooks?.length, 1);
  });

  it('ignores certificates without hooks', async () => {
    const postRotation = await open();
    postRotation.stored('kubelet-client', pair);
    postRotation.found('kubelet-client', pair);
    assert.deepEqual(postRotation.status('kubelet-client'), {});
    assert.deepEqual(records, {});
    assert.deepEqual(logger.lines, []);
  });

  it('found() runs the pending hooks of an earlier run', async () => {
    const postRotation = await open({ [name]: { hooksPending: 'a' } });
    postRotation.found(name, pair);
    assert.equal(await traces(), 'a\n');
    assert.equal(logger.all('hooks_pending').length, 1);
    assert.deepEqual(records, { [name]: {} });
  });

  it('found() runs nothing for a pair without pending hooks', async () => {
    const postRotation = await open();
    postRotation.found(name, pair);
    assert.deepEqual(logger.lines, []);
  });

  it('found() clears pending hooks of a pair that another one has replaced', async () => {
    const postRotation = await open({ [name]: { hooksPending: 'z' } });
    postRotation.found(name, pair);
    assert.deepEqual(logger.lines, []);
    assert.deepEqual(records, { [name]: {} });
  });

  it('rollbackTo() returns the rollback of an earlier run, for its pair only', async () => {
    const rolledBack = { from: 'b', to: 'a', count: 3, until: start + hour };
    const postRotation = await open({ [name]: { rolledBack } });
    const found = postRotation.rollbackTo(name, pair);
    assert.equal(found?.count, 3);
    assert.equal(found?.until, start + hour);
    assert.match(found?.failure.message ?? '', /serial b was not served/);
    assert.equal(postRotation.rollbackTo(name, { ...pair, serial: 'c' }), undefined);
  });

  for (const [what, loosen] of [
    ['the configuration', (): Promise<void> => chmod(join(directory, 'config.yaml'), 0o666)],
    ['its folder', (): Promise<void> => chmod(directory, 0o777)],
  ] as const) {
    it(`stored() disables hooks while others can change ${what}`, async () => {
      await loosen();
      const postRotation = await open();
      const [line] = logger.all('hooks_refused');
      assert.deepEqual(line?.['certificates'], [name]);
      assert.match(
        String(line?.['error']),
        /has mode 0(666|777): users other than its owner can change/,
      );
      assert.match(
        String(line?.['remedy']),
        /^Fix the mode: chmod go-w .*, then: systemctl restart nodecertd$/,
      );
      postRotation.stored(name, pair);
      assert.deepEqual(logger.take(), ['hooks_refused', 'hooks_refused']);
      assert.deepEqual(records, { [name]: { hooksPending: 'a' } });
      const [hook] = postRotation.status(name).hooks ?? [];
      assert.equal(hook?.failure?.code, 'HOOK_FAILED');
      assert.equal(hook?.failure?.at, start);
    });
  }

  it('open() disables hooks of a configuration that it cannot check', async () => {
    await rm(join(directory, 'config.yaml'));
    await open();
    assert.match(String(logger.all('hooks_refused')[0]?.['error']), /cannot be checked: ENOENT/);
  });
});
