import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { HookRecords } from '../../src/keeper/hook-journal.ts';
import { HookJournal } from '../../src/keeper/hook-journal.ts';
import { HookRunner } from '../../src/keeper/hook-runner.ts';
import type { RollbackOutcome } from '../../src/core/enroller-protocol.ts';
import type { HookAction, HookLimits, HookSpec, ServedSpec } from '../../src/core/hooks.ts';
import { hookEnvironment } from '../../src/core/hooks.ts';
import { hour, second } from '../../src/core/instant.ts';
import type { Rollback } from '../../src/core/rotation-state.ts';
import type { EndpointState, ServedOutcome } from '../../src/core/served.ts';
import { pairFor, servingTemplate, start } from '../core/fixtures.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { lostFailure } from './story.ts';
import { RecordingLink, RecordingLogger, RecordingObserver, until } from './fixtures.ts';

const served: ServedSpec = {
  endpoints: [
    { name: '127.0.0.1:1', host: '127.0.0.1', port: 1 },
    { name: '[::1]:1', host: '::1', port: 1 },
  ],
  withinMs: 30 * second,
  onFailure: 'rollback',
};
const currentEverywhere: readonly EndpointState[] = served.endpoints.map(({ name }) => ({
  endpoint: name,
  state: 'current',
}));
const other: EndpointState = {
  endpoint: '127.0.0.1:1',
  state: 'other',
  serial: '7',
  notAfter: start,
};
const stale: ServedOutcome = { kind: 'checked', endpoints: [other, ...currentEverywhere.slice(1)] };
const current: ServedOutcome = { kind: 'checked', endpoints: currentEverywhere };
const name = 'kubelet-server';
const pair = (serial: string) => pairFor(servingTemplate, { serial });

/** A runner with real programs in a directory of its own. Requests to the enroller are recorded. */
class Stage implements AsyncDisposable {
  readonly directory: string;
  readonly clock = new FakeClock(start);
  readonly link = new RecordingLink();
  readonly logger = new RecordingLogger();
  readonly observer = new RecordingObserver();
  readonly journal: HookJournal;
  readonly steps: Rollback[] = [];
  records: HookRecords;
  isIdle = true;
  #runner: HookRunner | undefined;

  private constructor(directory: string, records: HookRecords) {
    this.directory = directory;
    this.records = records;
    this.journal = new HookJournal(records, (saved) => {
      this.records = saved;
    });
  }

  static async open(records: HookRecords = {}): Promise<Stage> {
    return new Stage(await mkdtemp(join(tmpdir(), 'nodecertd-hooks-')), records);
  }

  get runner(): HookRunner {
    assert.ok(this.#runner !== undefined);
    return this.#runner;
  }

  /** The runner for these hooks. */
  follow(onRotate: readonly HookSpec[], served?: ServedSpec): void {
    const rotation = {
      isIdle: () => this.isIdle,
      rolledBack: (step: Rollback) => {
        this.steps.push(step);
        return start + hour;
      },
    };
    this.#runner = new HookRunner({
      target: {
        name,
        hooks: onRotate,
        environment: (pair) => hookEnvironment(name, '/pki/kubelet-server-current.pem', pair),
        ...(served && { check: { spec: served, enroller: this.link, rotation } }),
      },
      clock: this.clock,
      random: () => 0.5,
      logger: this.logger,
      observer: this.observer,
      journal: this.journal,
      systemctl: this.at('systemctl'),
    });
  }

  at(file: string): string {
    return join(this.directory, file);
  }

  /** A hook that runs a shell script with this text. */
  async script(file: string, text: string, limits: Partial<HookLimits> = {}): Promise<HookSpec> {
    await this.program(file, text);
    return this.hook({ kind: 'command', argv: [this.at(file), 'one', '$two'] }, limits);
  }

  hook(action: HookAction, limits: Partial<HookLimits> = {}): HookSpec {
    return { ...action, timeoutMs: 30 * second, retries: 0, ...limits };
  }

  async program(file: string, text: string): Promise<void> {
    await writeFile(this.at(file), `#!/bin/sh\n${text}\n`);
    await chmod(this.at(file), 0o755);
  }

  async event(event: Parameters<RecordingLogger['all']>[0], nth = 1): Promise<void> {
    await until(`line ${nth} of ${event}`, () => this.logger.all(event).length >= nth);
  }

  /** The complete lines that the programs have written to this file, which is empty at first. */
  written(file = 'log'): string[] {
    try {
      return readFileSync(this.at(file), 'utf8').split('\n').slice(0, -1);
    } catch {
      return [];
    }
  }

  /** The fake clock may end the grace period before the kernel has ended the process. */
  async gone(pid: string | undefined): Promise<void> {
    assert.match(pid ?? '', /^\d+$/);
    await until('the end of the process', () => !existsSync(`/proc/${pid}`));
  }

  answer(serial: string, outcome: ServedOutcome): void {
    this.link.reply({ type: 'served', outcome }, { serial });
  }

  rollBackReply(serial: string, outcome: RollbackOutcome): void {
    this.link.reply({ type: 'rolled-back', outcome }, { serial });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#runner?.stop();
    await rm(this.directory, { recursive: true });
  }
}

describe('HookRunner with hooks', () => {
  it('runs hooks in order, with their arguments and their own environment', async () => {
    await using stage = await Stage.open();
    const log = stage.at('log');
    stage.follow([
      await stage.script('first', `echo "first $*" >> ${log}; env | sort > ${stage.at('env')}`),
      await stage.script('second', `echo second >> ${log}; echo told; echo loudly >&2`),
    ]);
    stage.runner.stored(pair('4f2a'));
    assert.deepEqual(stage.records, { [name]: { hooksPending: '4f2a' } });
    await stage.event('hook_succeeded', 2);
    assert.deepEqual(stage.written(), ['first one $two', 'second']);
    const environment = stage.written('env').filter((line) => line.startsWith('NODECERTD_'));
    assert.deepEqual(environment, [
      'NODECERTD_CERTIFICATE=kubelet-server',
      'NODECERTD_NOT_AFTER=2026-01-01T01:00:00Z',
      'NODECERTD_PATH=/pki/kubelet-server-current.pem',
      'NODECERTD_SERIAL=4f2a',
    ]);
    assert.deepEqual(stage.logger.take(), [
      'hook_started',
      'hook_succeeded',
      'hook_started',
      'hook_output',
      'hook_output',
      'hook_succeeded',
    ]);
    const [first, second] = [stage.at('first'), stage.at('second')];
    const runs = [`${name} ${first} succeeded`, `${name} ${second} succeeded`];
    assert.deepEqual(stage.observer.hookRuns, runs);
    const hooks = [first, second].map((one) => ({ name: one, succeededAt: start }));
    assert.deepEqual(stage.runner.status, { hooks });
    assert.deepEqual(stage.records, { [name]: {} });
  });

  it('retries, logs the failure, and runs the next hook', async () => {
    await using stage = await Stage.open();
    stage.follow([
      await stage.script('failing', 'echo no such thing >&2; exit 3', { retries: 1 }),
      await stage.script('next', ':'),
    ]);
    stage.runner.stored(pair('a'));
    await stage.event('hook_retrying');
    const [retrying] = stage.logger.all('hook_retrying');
    assert.equal(retrying?.['error'], `hook ${stage.at('failing')} failed with exit code 3`);
    assert.equal(retrying?.['seconds'], 2);
    await stage.clock.advance(2 * second);
    await stage.event('hook_succeeded');
    const [failed] = stage.logger.all('hook_failed');
    assert.equal(failed?.['attempt'], 2);
    assert.equal(failed?.['code'], 'HOOK_FAILED');
    assert.ok(failed?.['remedy']);
    assert.deepEqual(stage.records, { [name]: { hooksPending: 'a' } });
    const [hook] = stage.runner.status.hooks ?? [];
    assert.equal(hook?.failure?.code, 'HOOK_FAILED');
    assert.equal(hook?.failure?.at, stage.clock.now());
    const failing = `${name} ${stage.at('failing')} failed`;
    assert.deepEqual(stage.observer.hookRuns.slice(0, 2), [failing, failing]);
  });

  it('logs that a hook works again', async () => {
    await using stage = await Stage.open();
    stage.follow([await stage.script('hook', 'exit 1')]);
    stage.runner.stored(pair('a'));
    await stage.event('hook_failed');
    await stage.program('hook', 'exit 0');
    stage.runner.stored(pair('b'));
    await stage.event('hook_recovered');
    assert.equal(stage.runner.status.hooks?.[0]?.failure, undefined);
    assert.deepEqual(stage.records, { [name]: {} });
  });

  it('kills a hook that times out, and counts it as timeout', async () => {
    await using stage = await Stage.open();
    const log = stage.at('log');
    const text = `echo $$ >> ${log}; sleep 60`;
    stage.follow([await stage.script('slow', text, { timeoutMs: 5 * second })]);
    stage.runner.stored(pair('a'));
    await until('the hook runs', () => stage.written().length > 0);
    const ended = stage.event('hook_failed');
    await stage.clock.advance(5 * second);
    await until('the hook is gone', () => {
      void stage.clock.advance(second / 10);
      return stage.logger.all('hook_failed').length > 0;
    });
    await ended;
    assert.equal(stage.logger.all('hook_failed')[0]?.['code'], 'HOOK_TIMEOUT');
    assert.deepEqual(stage.observer.hookRuns, [`${name} ${stage.at('slow')} timeout`]);
    await stage.gone(stage.written()[0]);
  });

  it('retries a hook that cannot be started, and logs why', async () => {
    await using stage = await Stage.open();
    const gone = stage.hook({ kind: 'command', argv: ['/nowhere/hook'] }, { retries: 1 });
    stage.follow([gone]);
    stage.runner.stored(pair('a'));
    await stage.event('hook_retrying');
    await stage.clock.advance(2 * second);
    await stage.event('hook_failed');
    assert.match(String(stage.logger.all('hook_failed')[0]?.['error']), /does not exist$/);
  });

  it('does not run or retry a program that others can change', async () => {
    await using stage = await Stage.open();
    stage.follow([await stage.script('open', `echo ran >> ${stage.at('log')}`, { retries: 3 })]);
    await chmod(stage.at('open'), 0o777);
    stage.runner.stored(pair('a'));
    await stage.event('hook_failed');
    const [line] = stage.logger.all('hook_failed');
    assert.match(String(line?.['error']), /is disabled: .*open has mode 0777/);
    assert.equal(line?.['remedy'], `Fix the mode: chmod go-w ${stage.at('open')}`);
    assert.deepEqual(stage.written(), []);
  });

  it('runs systemctl to reload a unit or signal its main process', async () => {
    await using stage = await Stage.open();
    // Replaces the real systemctl, which has no service manager here.
    await stage.program('systemctl', `echo "$*" >> ${stage.at('log')}`);
    stage.follow([
      stage.hook({ kind: 'systemctl', verb: 'reload', unit: 'nginx.service' }),
      stage.hook({ kind: 'signal', signal: 'SIGHUP', unit: 'haproxy.service' }),
    ]);
    stage.runner.stored(pair('a'));
    await stage.event('hook_succeeded', 2);
    assert.deepEqual(stage.written(), [
      '--no-ask-password reload -- nginx.service',
      '--no-ask-password --kill-who=main --signal=SIGHUP kill -- haproxy.service',
    ]);
    assert.equal(stage.logger.all('hook_succeeded')[1]?.['hook'], 'SIGHUP haproxy.service');
  });

  it('lets the running hook end, then runs once for the newest pair', async () => {
    await using stage = await Stage.open();
    const [log, go] = [stage.at('log'), stage.at('go')];
    const wait = `while [ ! -e ${go} ]; do sleep 0.02; done`;
    const text = `echo "begin $NODECERTD_SERIAL" >> ${log}; ${wait}; echo end >> ${log}`;
    stage.follow([await stage.script('waiting', text)]);
    stage.runner.stored(pair('a'));
    await until('the hook waits', () => stage.written().length > 0);
    stage.runner.stored(pair('b'));
    stage.runner.stored(pair('c'));
    stage.runner.stored(pair('c'));
    await writeFile(go, '');
    await stage.event('hook_succeeded', 2);
    assert.deepEqual(stage.written(), ['begin a', 'end', 'begin c', 'end']);
    assert.deepEqual(stage.records, { [name]: {} });
  });

  it('limits the logged output, and logs how many lines it left out', async () => {
    await using stage = await Stage.open();
    stage.follow([await stage.script('loud', 'seq 1000')]);
    stage.runner.stored(pair('a'));
    await stage.event('hook_succeeded');
    const lines = stage.logger.all('hook_output').map(({ line }) => line);
    assert.equal(lines.length, 21);
    assert.equal(lines.at(-1), '… and 980 more lines');
  });

  it('stop() ends a running hook, and leaves it pending', async () => {
    await using stage = await Stage.open();
    stage.follow([await stage.script('long', `echo $$ >> ${stage.at('log')}; sleep 60`)]);
    stage.runner.stored(pair('a'));
    await until('the hook runs', () => stage.written().length > 0);
    let stopped = false;
    const stopping = stage.runner.stop().finally(() => {
      stopped = true;
    });
    await until('the hook is stopped', () => {
      void stage.clock.advance(second / 10);
      return stopped;
    });
    await stopping;
    await stage.gone(stage.written()[0]);
    assert.deepEqual(stage.logger.all('hook_failed'), []);
    assert.deepEqual(stage.records, { [name]: { hooksPending: 'a' } });
    stage.runner.stored(pair('b'));
    assert.equal(stage.logger.all('hook_started').length, 1);
  });

  it('stop() ends a delay', async () => {
    await using stage = await Stage.open();
    stage.follow([await stage.script('failing', 'exit 1', { retries: 5 })]);
    stage.runner.stored(pair('a'));
    await stage.event('hook_retrying');
    await stage.runner.stop();
    assert.equal(stage.clock.sleeping, 0);
  });
});

describe('HookRunner with a check of the served certificate', () => {
  it('requests a check from the enroller, and logs a match', async () => {
    await using stage = await Stage.open();
    stage.follow([], { ...served, onFailure: 'report' });
    stage.runner.stored(pair('a'));
    assert.deepEqual(stage.link.commands, [
      { type: 'check-served', name, serial: 'a', withinMs: 30 * second },
    ]);
    stage.answer('a', current);
    const [line] = stage.logger.all('served_checked');
    assert.deepEqual(line?.['endpoints'], ['127.0.0.1:1', '[::1]:1']);
    assert.deepEqual(stage.runner.status.served, { at: start, endpoints: currentEverywhere });
    assert.deepEqual(stage.records, { [name]: {} });
  });

  it('logs which endpoint is stale, and checks until it is current', async () => {
    await using stage = await Stage.open();
    stage.follow([], { ...served, onFailure: 'report' });
    stage.runner.stored(pair('a'));
    stage.answer('a', stale);
    const [line] = stage.logger.all('served_stale');
    assert.equal(line?.['code'], 'SERVED_STALE');
    assert.match(
      String(line?.['error']),
      /\(serial a\) is not served after 30s: 127\.0\.0\.1:1 serves another certificate \(serial 7,/,
    );
    assert.ok(line?.['remedy']);
    stage.link.take();
    await stage.clock.advance(30 * second);
    assert.deepEqual(stage.link.commands, [
      { type: 'check-served', name, serial: 'a', withinMs: 0 },
    ]);
    stage.answer('a', current);
    assert.deepEqual(stage.logger.take(), ['served_stale', 'served_recovered']);
  });

  it('repeats a failed check, and logs the failure once', async () => {
    await using stage = await Stage.open();
    stage.follow([], served);
    stage.runner.stored(pair('a'));
    stage.link.lose(lostFailure);
    await stage.clock.advance(30 * second);
    const failure = { code: 'STORE_IO', message: 'it cannot be read' } as const;
    stage.answer('a', { kind: 'failed', failure });
    assert.deepEqual(
      stage.logger.all('served_unchecked').map(({ code }) => code),
      ['ENROLLER_LOST'],
    );
    await stage.clock.advance(60 * second);
    assert.equal(stage.link.take().length, 3);
    stage.answer('a', current);
    assert.equal(stage.logger.all('served_checked').length, 1);
  });

  it('ignores a late reply about another pair', async () => {
    await using stage = await Stage.open();
    stage.follow([], { ...served, onFailure: 'report' });
    stage.runner.stored(pair('z'));
    stage.runner.stored(pair('a'));
    stage.answer('z', stale);
    stage.logger.take();
    stage.answer('z', stale);
    assert.deepEqual(stage.logger.lines, []);
    stage.answer('a', stale);
    await stage.clock.advance(30 * second);
    stage.answer('a', { kind: 'replaced' });
    assert.equal(stage.runner.status.served, undefined);
  });
});

describe('HookRunner with rollback', () => {
  const toA = { kind: 'rolled-back', pair: pair('a'), findings: [] } as const;

  it('rolls back, runs the hooks for the previous pair, and checks again', async () => {
    await using stage = await Stage.open();
    stage.follow(
      [await stage.script('hook', `echo $NODECERTD_SERIAL >> ${stage.at('log')}`)],
      served,
    );
    stage.runner.stored(pair('b'));
    await stage.event('hook_succeeded');
    stage.answer('b', stale);
    assert.deepEqual(stage.link.commands.at(-1), { type: 'roll-back', name, serial: 'b' });
    stage.rollBackReply('b', toA);
    const [step] = stage.steps;
    assert.equal(step?.pair.serial, 'a');
    assert.equal(step?.count, 1);
    assert.equal(step?.failure.code, 'SERVED_STALE');
    assert.match(step?.failure.remedy ?? '', /nodecertd renew kubelet-server$/);
    const rolledBack = { from: 'b', to: 'a', count: 1, until: start + hour };
    assert.deepEqual(stage.records, { [name]: { hooksPending: 'a', rolledBack } });
    await stage.event('hook_succeeded', 2);
    assert.deepEqual(await readFile(stage.at('log'), 'utf8'), 'b\na\n');
    stage.answer('a', current);
    assert.deepEqual(stage.logger.all('served_recovered').length, 1);
    assert.deepEqual(stage.records, { [name]: { rolledBack } });
  });

  it('counts rollbacks in a row, until a new pair is served', async () => {
    await using stage = await Stage.open();
    stage.follow([], served);
    for (const serial of ['b', 'c']) {
      stage.runner.stored(pair(serial));
      stage.answer(serial, stale);
      stage.rollBackReply(serial, toA);
      stage.answer('a', current);
    }
    stage.runner.stored(pair('d'));
    stage.answer('d', current);
    stage.runner.stored(pair('e'));
    stage.answer('e', stale);
    stage.rollBackReply('e', { ...toA, pair: pair('d') });
    assert.deepEqual(
      stage.steps.map(({ count }) => count),
      [1, 2, 1],
    );
  });

  it('does not roll back a second time in a later run', async () => {
    const rolledBack = { from: 'b', to: 'a', count: 1, until: start + hour };
    await using stage = await Stage.open({ [name]: { hooksPending: 'a', rolledBack } });
    stage.follow([], served);
    stage.runner.stored(pair('a'));
    stage.answer('a', stale);
    assert.deepEqual(stage.link.take(), ['check-served']);
  });

  for (const [what, outcome, reason] of [
    [
      'no previous pair is usable',
      { kind: 'impossible', reason: 'there is none' },
      /^there is none$/,
    ],
    ['another pair is linked', { kind: 'replaced' }, /another key pair is linked already/],
    [
      'the disk is full',
      { kind: 'failed', failure: { code: 'STORE_FULL', message: 'it is full' } },
      /^it is full$/,
    ],
  ] as const) {
    it(`logs a failed rollback when ${what}, and keeps checking`, async () => {
      await using stage = await Stage.open();
      stage.follow([], served);
      stage.runner.stored(pair('b'));
      stage.answer('b', stale);
      stage.rollBackReply('b', outcome);
      const [line] = stage.logger.all('rollback_failed');
      assert.match(String(line?.['error']), reason);
      assert.ok(line?.['remedy']);
      assert.deepEqual(stage.steps, []);
      stage.link.take();
      await stage.clock.advance(30 * second);
      assert.deepEqual(stage.link.take(), ['check-served']);
    });
  }

  it('does not roll back a temporary self-signed certificate', async () => {
    await using stage = await Stage.open();
    stage.follow([], served);
    stage.runner.stored({ ...pair('1'), selfSigned: true });
    stage.answer('1', stale);
    assert.deepEqual(stage.link.take(), ['check-served']);
    assert.equal(stage.logger.all('served_stale').length, 1);
  });

  it('does not roll back while another pair is requested, or without enroller', async () => {
    await using stage = await Stage.open();
    stage.follow([], served);
    stage.isIdle = false;
    stage.runner.stored(pair('b'));
    stage.answer('b', stale);
    assert.deepEqual(stage.link.take(), ['check-served']);
    stage.isIdle = true;
    await stage.clock.advance(30 * second);
    stage.answer('b', stale);
    assert.deepEqual(stage.link.take(), ['check-served', 'roll-back']);
    stage.link.lose(lostFailure);
    assert.equal(stage.logger.all('rollback_failed').length, 1);
  });
});
