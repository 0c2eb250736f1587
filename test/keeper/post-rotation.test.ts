import assert from 'node:assert/strict';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { PostRotation } from '../../src/keeper/post-rotation.ts';
import type { HookRecords } from '../../src/keeper/hook-journal.ts';
import { HookJournal } from '../../src/keeper/hook-journal.ts';
import type { CertificateSpec } from '../../src/core/certificate-spec.ts';
import { hour, second } from '../../src/core/instant.ts';
import { pairFor, servingSpec, servingTemplate, start } from '../core/fixtures.ts';
import { FakeClock } from '../support/fake-clock.ts';
import {
  agentConfig,
  clientSpec,
  RecordingLink,
  RecordingLogger,
  RecordingObserver,
  until,
} from './fixtures.ts';

const name = 'kubelet-server';
const pair = pairFor(servingTemplate, { serial: 'a' });

describe('PostRotation', () => {
  let directory: string;
  let logger: RecordingLogger;
  let records: HookRecords;
  let after: PostRotation | undefined;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nodecertd-after-'));
    await writeFile(join(directory, 'config.yaml'), 'one', { mode: 0o644 });
    logger = new RecordingLogger();
    records = {};
    after = undefined;
  });
  afterEach(async () => {
    await after?.stop();
    await rm(directory, { recursive: true });
  });

  /** With a hook of the serving certificate that leaves a trace. */
  async function open(left: HookRecords = {}): Promise<PostRotation> {
    records = left;
    const argv = ['/bin/sh', '-c', `echo $NODECERTD_SERIAL >> ${join(directory, 'log')}`];
    const hook = { kind: 'command', argv, timeoutMs: 30 * second, retries: 0 } as const;
    const serving: CertificateSpec = { ...servingSpec, onRotate: [hook] };
    const config = agentConfig(directory, [clientSpec, serving]);
    after = await PostRotation.open({
      config: { ...config, file: join(directory, 'config.yaml') },
      clock: new FakeClock(start),
      random: () => 0.5,
      enroller: new RecordingLink(),
      logger,
      observer: new RecordingObserver(),
      journal: new HookJournal(left, (saved) => {
        records = saved;
      }),
      rotation: () => ({ atRest: () => true, rolledBack: () => undefined }),
    });
    return after;
  }

  async function traces(): Promise<string> {
    await until('the hook is done', () => logger.all('hook_succeeded').length > 0);
    return readFile(join(directory, 'log'), 'utf8');
  }

  it('runs the hooks of the certificate that was stored', async () => {
    const follows = await open();
    follows.stored(name, pair);
    assert.equal(await traces(), 'a\n');
    assert.equal(follows.status(name).hooks?.length, 1);
  });

  it('has nothing to do with certificates without hooks', async () => {
    const follows = await open();
    follows.stored('kubelet-client', pair);
    follows.found('kubelet-client', pair);
    assert.deepEqual(follows.status('kubelet-client'), {});
    assert.deepEqual(records, {});
    assert.deepEqual(logger.lines, []);
  });

  it('makes up for what an earlier run owed', async () => {
    const follows = await open({ [name]: { owed: 'a' } });
    follows.found(name, pair);
    assert.equal(await traces(), 'a\n');
    assert.equal(logger.all('hooks_pending').length, 1);
    assert.deepEqual(records, { [name]: {} });
  });

  it('runs nothing for a pair that is there and owed nothing', async () => {
    const follows = await open();
    follows.found(name, pair);
    assert.deepEqual(logger.lines, []);
  });

  it("forgets what was owed for a pair that is somebody else's by now", async () => {
    const follows = await open({ [name]: { owed: 'z' } });
    follows.found(name, pair);
    assert.deepEqual(logger.lines, []);
    assert.deepEqual(records, { [name]: {} });
  });

  it('wentBack() knows of an earlier run, for the pair that it is about', async () => {
    const wentBack = { from: 'b', to: 'a', count: 3, until: start + hour };
    const follows = await open({ [name]: { wentBack } });
    const found = follows.rollbackTo(name, pair);
    assert.equal(found?.count, 3);
    assert.equal(found?.until, start + hour);
    assert.match(found?.failure.message ?? '', /serial b was not found served/);
    assert.equal(follows.rollbackTo(name, { ...pair, serial: 'c' }), undefined);
  });

  for (const [what, loosen] of [
    ['its configuration', (): Promise<void> => chmod(join(directory, 'config.yaml'), 0o666)],
    ['the folder of its configuration', (): Promise<void> => chmod(directory, 0o777)],
  ] as const) {
    it(`runs nothing when others may change ${what}, says so at each rotation, and owes it`, async () => {
      await loosen();
      const follows = await open();
      const [line] = logger.all('hooks_refused');
      assert.deepEqual(line?.['certificates'], [name]);
      assert.match(
        String(line?.['error']),
        /has mode 0(666|777): others than its owner may change/,
      );
      assert.match(String(line?.['remedy']), /^chmod go-w .*, then: systemctl restart nodecertd$/);
      follows.stored(name, pair);
      assert.deepEqual(logger.take(), ['hooks_refused', 'hooks_refused']);
      assert.deepEqual(records, { [name]: { owed: 'a' } });
      const [hook] = follows.status(name).hooks ?? [];
      assert.equal(hook?.failure?.code, 'HOOK_FAILED');
      assert.equal(hook?.failure?.at, start);
    });
  }

  it('runs nothing by a configuration that it cannot look at', async () => {
    await rm(join(directory, 'config.yaml'));
    await open();
    assert.match(String(logger.all('hooks_refused')[0]?.['error']), /cannot be looked at: ENOENT/);
  });
});
