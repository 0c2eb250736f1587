import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import type { PkiConfig } from '../../src/core/config.ts';
import type { HookSpec } from '../../src/core/hooks.ts';
import { day, hour, minute, second } from '../../src/core/instant.ts';
import type { PkiStatus } from '../../src/core/status.ts';
import type { UnattendedRenewal } from '../../src/core/unattended-renewal.ts';
import type { HookRecords } from '../../src/keeper/hook-journal.ts';
import { HookJournal } from '../../src/keeper/hook-journal.ts';
import { PkiRenewals } from '../../src/keeper/pki-renewals.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { RecordingLogger, RecordingObserver, until } from './fixtures.ts';
import { OwnProgram } from './own-program.ts';
import { pkiConfig, prints, renewalDocument, renewedDocument } from './pki-documents.ts';

const refused = renewalDocument({
  outcome: 'refused',
  reason: 'the clock is not synchronized',
  code: 'INTERNAL',
  remedy: 'Run timedatectl',
});

/** The renewals of an agent with a script in the place of the command. */
class Stage {
  readonly clock = new FakeClock();
  readonly logger = new RecordingLogger();
  readonly observer = new RecordingObserver();
  readonly program: OwnProgram;
  readonly renewals: PkiRenewals;
  records: HookRecords;

  private constructor(program: OwnProgram, records: HookRecords) {
    this.program = program;
    this.records = records;
    const { clock, logger, observer } = this;
    const journal = new HookJournal(records, (saved) => {
      this.records = saved;
    });
    this.renewals = new PkiRenewals({
      program: [program.path],
      env: {},
      clock,
      random: () => 0.5,
      logger,
      observer,
      journal,
    });
  }

  static async open(context: TestContext, script: string, records = {}): Promise<Stage> {
    const stage = new Stage(await OwnProgram.create(context, script), records);
    context.after(async () => {
      await stage.renewals[Symbol.asyncDispose]();
    });
    return stage;
  }

  get status(): PkiStatus {
    const { status } = this.renewals;
    assert.ok(status !== undefined);
    return status;
  }

  /** Waits until the agent waits after this number of calls. */
  async checked(times: number): Promise<void> {
    await until(`the end of call ${times}`, () => {
      const { calls } = this.program;
      return calls.length === times && this.renewals.status?.nextCheck !== undefined;
    });
  }

  /** Waits for the end of a command, whose last processes may still run. */
  async ended(): Promise<void> {
    await until('the end of the command', () => {
      if (this.status.nextCheck !== undefined) return true;
      void this.clock.advance(second / 10);
      return false;
    });
  }

  /** The next check, with this document. */
  async next(document: UnattendedRenewal): Promise<void> {
    await this.program.become(prints(document));
    const times = this.program.calls.length + 1;
    await this.clock.advance(this.pause);
    await this.checked(times);
  }

  /** Milliseconds until the next check. */
  get pause(): number {
    return (this.status.nextCheck ?? NaN) - this.clock.now();
  }

  /** A hook that runs a shell script with this text. */
  async hook(text: string): Promise<HookSpec> {
    const path = join(this.program.directory, 'hook');
    await writeFile(path, `#!/bin/sh\n${text}\n`);
    await chmod(path, 0o755);
    return { kind: 'command', argv: [path], timeoutMs: 30 * second, retries: 0 };
  }

  file(name: string): string {
    return join(this.program.directory, name);
  }

  /** The end of a script: it runs until its trap for SIGTERM exits. */
  get waitingForever(): string {
    return `echo $$ > ${this.file('pid.new')}; mv ${this.file('pid.new')} ${this.file('pid')}; while :; do sleep 0.02; done`;
  }

  /** The pid of a script that waits forever, after it has set its trap. */
  async waitingProcess(): Promise<string> {
    await until('the script', () => exists(this.file('pid')));
    return readFileSync(this.file('pid'), 'utf8').trim();
  }

  /** Ends the agent during a script that waits forever. The clock stands still until the script has ended. */
  async stopWhileRunning(): Promise<void> {
    const pid = await this.waitingProcess();
    let isStopped = false;
    const stopped = this.renewals[Symbol.asyncDispose]().finally(() => {
      isStopped = true;
    });
    await until('the end of the script', () => !exists(`/proc/${pid}/stat`));
    // Its last sleep may still run.
    await until('the end of the renewals', () => {
      void this.clock.advance(second / 10);
      return isStopped;
    });
    await stopped;
  }
}

describe('PkiRenewals', () => {
  it('checks at once and every hour', async (context) => {
    const stage = await Stage.open(context, prints(renewalDocument()));
    const { renewals, clock, program } = stage;
    assert.equal(renewals.status, undefined);
    renewals.apply(pkiConfig);
    assert.equal(stage.status.state, 'starting');
    await stage.checked(1);
    assert.equal(stage.status.state, 'not-due');
    assert.equal(stage.status.nextDue?.name, 'apiserver');
    assert.equal(stage.status.nextCheck, clock.now() + hour);
    await clock.advance(hour - 1);
    assert.equal(program.calls.length, 1);
    await clock.advance(1);
    await stage.checked(2);
    assert.deepEqual(stage.logger.events, []);
  });

  it('checks a minute after a suspend at the latest', async (context) => {
    const stage = await Stage.open(context, prints(renewalDocument()));
    stage.renewals.apply(pkiConfig);
    await stage.checked(1);
    stage.clock.jump(2 * hour);
    await stage.clock.advance(minute);
    await stage.checked(2);
  });

  it('checks after an hour when the clock is set back', async (context) => {
    const stage = await Stage.open(context, prints(renewalDocument()));
    stage.renewals.apply(pkiConfig);
    await stage.checked(1);
    stage.clock.jump(-30 * day);
    await stage.clock.advance(hour);
    await stage.checked(2);
  });

  it('checks earlier if the command asks for it', async (context) => {
    const waiting = { outcome: 'waiting', reason: 'cp-2 renews', retryAfterSeconds: 60 } as const;
    const stage = await Stage.open(context, prints(renewalDocument(waiting)));
    stage.renewals.apply(pkiConfig);
    await stage.checked(1);
    assert.equal(stage.status.waitsFor, 'cp-2 renews');
    await stage.clock.advance(minute);
    await stage.checked(2);
    await stage.program.become(prints(renewalDocument({ ...waiting, retryAfterSeconds: 0 })));
    await stage.clock.advance(minute);
    await stage.checked(3);
    await stage.clock.advance(9 * second);
    assert.equal(stage.program.calls.length, 3);
    assert.equal(stage.logger.all('pki_waiting').length, 1);
  });

  it('logs and counts a renewal', async (context) => {
    const stage = await Stage.open(context, prints(renewedDocument));
    stage.renewals.apply(pkiConfig);
    await stage.checked(1);
    assert.deepEqual(stage.logger.lines, [
      {
        event: 'pki_renewed',
        certificates: ['apiserver', 'scheduler.conf'],
        restarted: ['kube-scheduler'],
      },
    ]);
    assert.deepEqual(stage.observer.pkiRenewals, ['succeeded']);
    assert.equal(stage.status.lastSuccess, Date.UTC(2026, 0, 1));
    const lastRenewals = [{ name: 'etcd-peer', serial: '5', notAfter: '2027-01-01T00:00:00Z' }];
    await stage.next({ ...renewedDocument, lastRenewals, withoutLease: 'others-unhealthy' });
    assert.deepEqual(stage.logger.all('pki_renewed_without_lease'), [
      { event: 'pki_renewed_without_lease', reason: 'others-unhealthy' },
    ]);
    const { reason, at } = stage.status.lastWithoutLease ?? {};
    assert.deepEqual([reason, at], ['others-unhealthy', stage.clock.now()]);
  });

  it('logs each reason to wait and each refusal once, and the recovery', async (context) => {
    const stage = await Stage.open(context, prints(refused));
    stage.renewals.apply(pkiConfig);
    await stage.checked(1);
    const since = stage.status.since;
    await stage.next(refused);
    assert.equal(stage.status.since, since);
    assert.deepEqual(stage.logger.lines, [
      {
        event: 'pki_refused',
        code: 'INTERNAL',
        error: 'the clock is not synchronized',
        remedy: 'Run timedatectl',
      },
    ]);
    await stage.next(renewalDocument({ outcome: 'waiting', reason: 'cp-2 renews' }));
    assert.equal(stage.status.failure?.message, 'the clock is not synchronized');
    await stage.next(renewalDocument({ outcome: 'waiting', reason: 'cp-3 is unhealthy' }));
    await stage.next(renewedDocument);
    assert.equal(stage.status.failure, undefined);
    assert.deepEqual(stage.logger.events, [
      'pki_refused',
      'pki_waiting',
      'pki_waiting',
      'pki_renewed',
      'pki_recovered',
    ]);
  });

  it('logs and counts every failed renewal', async (context) => {
    const failed = { ...refused, outcome: 'failed' } as const;
    const stage = await Stage.open(context, prints(failed));
    stage.renewals.apply(pkiConfig);
    await stage.checked(1);
    await stage.next(failed);
    assert.deepEqual(stage.logger.events, ['pki_failed', 'pki_failed']);
    assert.deepEqual(stage.observer.pkiRenewals, ['failed', 'failed']);
  });

  it('logs a problem of a certificate once', async (context) => {
    const problem = { name: 'apiserver', reason: 'the key of the CA is missing', remedy: 'Do' };
    const document = renewalDocument({ problems: [problem] });
    const stage = await Stage.open(context, prints(document));
    stage.renewals.apply(pkiConfig);
    await stage.checked(1);
    await stage.next(document);
    assert.deepEqual(stage.logger.all('pki_problem'), [
      {
        event: 'pki_problem',
        certificate: 'apiserver',
        code: undefined,
        error: 'the key of the CA is missing',
        remedy: 'Do',
      },
    ]);
    assert.deepEqual(stage.status.problems, [problem]);
  });

  it('keeps what it knows when the command itself fails', async (context) => {
    const stage = await Stage.open(context, prints(renewedDocument));
    stage.renewals.apply(pkiConfig);
    await stage.checked(1);
    await stage.program.become('echo "error: no memory" >&2; exit 1');
    await stage.clock.advance(hour);
    await stage.checked(2);
    const { state, failure, lastSuccess } = stage.status;
    assert.equal(state, 'failed');
    assert.equal(
      failure?.message,
      'nodecertd certs renew --unattended failed with exit code 1: error: no memory',
    );
    assert.ok(failure.remedy);
    assert.ok(lastSuccess);
  });

  it('completes a renewal before it uses a new configuration', async (context) => {
    const stage = await Stage.open(context, '');
    const { renewals, program } = stage;
    const go = stage.file('go');
    await program.become(`while ! [ -e ${go} ]; do sleep 0.02; done; ${prints(renewedDocument)}`);
    renewals.apply(pkiConfig);
    await until('the command', () => program.calls.length === 1);
    await program.become(prints(renewalDocument()));
    renewals.apply({ ...pkiConfig, maintenanceWindow: '02:00-04:00' });
    assert.equal(program.calls.length, 1);
    await writeFile(go, '');
    await stage.checked(2);
    assert.match(program.calls[1] ?? '', / --window 02:00-04:00$/);
    assert.deepEqual(stage.logger.events, ['pki_renewed']);
  });

  it('completes a renewal although it was disabled', async (context) => {
    const stage = await Stage.open(context, `sleep 0.1; ${prints(renewedDocument)}`);
    stage.renewals.apply(pkiConfig);
    await until('the command', () => stage.program.calls.length === 1);
    stage.renewals.apply(undefined);
    assert.equal(stage.renewals.status, undefined);
    await until('the end', () => stage.logger.events.includes('pki_renewed'));
    await stage.clock.advance(2 * hour);
    assert.equal(stage.program.calls.length, 1);
  });

  it('checks again a minute after the command was killed, then less often', async (context) => {
    const stage = await Stage.open(context, 'kill -KILL $$');
    stage.renewals.apply(pkiConfig);
    const pauses: number[] = [];
    for (let call = 1; call <= 8; call += 1) {
      await stage.checked(call);
      pauses.push(stage.pause / minute);
      await stage.clock.advance(stage.pause);
    }
    assert.deepEqual(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    await stage.checked(9);
    await stage.next(renewalDocument());
    assert.equal(stage.pause, hour);
    await stage.program.become('kill -KILL $$');
    await stage.clock.advance(hour);
    await stage.checked(11);
    assert.equal(stage.pause, minute);
  });

  it('ends a command after 30 minutes with SIGTERM, and checks again soon', async (context) => {
    const stage = await Stage.open(context, '');
    const restored = stage.file('restored');
    await stage.program.become(`trap 'echo > ${restored}; exit 1' TERM; ${stage.waitingForever}`);
    stage.renewals.apply(pkiConfig);
    const pid = await stage.waitingProcess();
    await stage.clock.advance(30 * minute - 1);
    assert.ok(!exists(restored) && exists(`/proc/${pid}/stat`));
    await stage.clock.advance(1);
    await until('the end of the script', () => exists(restored) && !exists(`/proc/${pid}/stat`));
    await stage.ended();
    assert.match(String(stage.status.failure?.message), / timed out after 30m\b/);
    assert.ok(stage.pause > 0.9 * minute && stage.pause <= minute);
  });

  it('kills a command 20 s after its SIGTERM', async (context) => {
    const stage = await Stage.open(context, '');
    await stage.program.become(`trap '' TERM; ${stage.waitingForever}`);
    stage.renewals.apply(pkiConfig);
    const pid = await stage.waitingProcess();
    await stage.clock.advance(30 * minute + 20 * second - 1);
    assert.ok(exists(`/proc/${pid}/stat`));
    await stage.clock.advance(1);
    await until('the end of the script', () => !exists(`/proc/${pid}/stat`));
    await stage.ended();
    assert.match(String(stage.status.failure?.message), / timed out after 30m\b/);
  });

  it('ends the command with SIGTERM and waits until it has restored its files', async (context) => {
    const stage = await Stage.open(context, '');
    const restored = stage.file('restored');
    await stage.program.become(
      `trap 'sleep 0.1; echo > ${restored}; exit 1' TERM; ${stage.waitingForever}`,
    );
    stage.renewals.apply(pkiConfig);
    await stage.stopWhileRunning();
    assert.ok(exists(restored));
    assert.deepEqual(stage.logger.events, []);
  });
});

const interrupted = renewalDocument({
  outcome: 'failed',
  code: 'ABORTED',
  reason: 'the renewal was interrupted',
  renewed: [{ name: 'apiserver', serial: '4f2a', notAfter: '2027-01-01T00:00:00Z' }],
});

async function applyWithHook(stage: Stage, text: string): Promise<PkiConfig> {
  const config = { ...pkiConfig, hooks: [await stage.hook(text)] };
  stage.renewals.apply(config);
  return config;
}

describe('PkiRenewals with hooks', () => {
  const write = 'echo "$NODECERTD_DIRECTORY: $NODECERTD_CERTIFICATES" >> "$(dirname $0)/log"';

  it('runs them once after a renewal, with its certificates', async (context) => {
    const stage = await Stage.open(context, prints(renewedDocument));
    await applyWithHook(stage, write);
    await until('the hook', () => stage.logger.events.includes('hook_succeeded'));
    assert.equal(
      readFileSync(stage.file('log'), 'utf8'),
      '/etc/kubernetes: apiserver scheduler.conf\n',
    );
    const reported = { apiserver: '4f2a', 'scheduler.conf': '4f2b' };
    assert.deepEqual(stage.records, { '/etc/kubernetes': { reported } });
    const [hook] = stage.status.hooks ?? [];
    assert.equal(hook?.succeededAt, stage.clock.now());
    assert.deepEqual(stage.observer.hookRuns, [`/etc/kubernetes ${stage.file('hook')} succeeded`]);
  });

  it('runs them if only some certificates were renewed, and not if none was', async (context) => {
    const stage = await Stage.open(context, prints(refused));
    await applyWithHook(stage, write);
    await stage.checked(1);
    assert.deepEqual(stage.logger.all('hook_started'), []);
    await stage.next({ ...renewedDocument, outcome: 'failed', reason: 'r', code: 'INTERNAL' });
    await until('the hook', () => stage.logger.events.includes('hook_succeeded'));
  });

  it('runs them after a call that was killed, at the next call that prints', async (context) => {
    const { lastRenewals } = renewedDocument;
    const records = { '/etc/kubernetes': { reported: { apiserver: '4f2a' } } };
    const stage = await Stage.open(context, 'kill -KILL $$', records);
    await applyWithHook(stage, write);
    await stage.checked(1);
    assert.match(String(stage.logger.all('pki_failed')[0]?.['error']), /was killed by SIGKILL$/);
    await stage.next(renewalDocument({ outcome: 'waiting', reason: 'r', lastRenewals }));
    await until('the hook', () => stage.logger.events.includes('hook_succeeded'));
    assert.equal(readFileSync(stage.file('log'), 'utf8'), '/etc/kubernetes: scheduler.conf\n');
    assert.deepEqual(stage.logger.all('pki_renewed'), [
      { event: 'pki_renewed', certificates: ['scheduler.conf'], restarted: [] },
    ]);
    assert.deepEqual(stage.observer.pkiRenewals, ['failed', 'succeeded']);
    await stage.next(renewalDocument({ lastRenewals }));
    assert.equal(stage.logger.all('pki_renewed').length, 1);
    assert.equal(stage.logger.all('hook_started').length, 1);
  });

  it('keeps a failed hook pending, and shows it', async (context) => {
    const stage = await Stage.open(context, prints(renewedDocument));
    await applyWithHook(stage, 'exit 1');
    await until('the hook', () => stage.logger.events.includes('hook_failed'));
    assert.deepEqual(stage.records, {
      '/etc/kubernetes': {
        hooksPending: '4f2a',
        renewed: ['apiserver', 'scheduler.conf'],
        reported: { apiserver: '4f2a', 'scheduler.conf': '4f2b' },
      },
    });
    assert.equal(stage.status.hooks?.[0]?.failure?.code, 'HOOK_FAILED');
    const renewed = [{ name: 'etcd-peer', serial: '5', notAfter: '2027-01-01T00:00:00Z' }];
    await stage.next({ ...renewedDocument, lastRenewals: renewed });
    await until('the second failure', () => stage.logger.all('hook_failed').length === 2);
    assert.deepEqual(stage.records['/etc/kubernetes']?.renewed, [
      'apiserver',
      'scheduler.conf',
      'etcd-peer',
    ]);
  });

  it('runs the pending hooks of an earlier run', async (context) => {
    const pending = { hooksPending: '4f2a', renewed: ['etcd-peer'] };
    const records = { '/etc/kubernetes': pending };
    const stage = await Stage.open(context, prints(renewalDocument()), records);
    await applyWithHook(stage, write);
    await until('the hook', () => stage.logger.events.includes('hook_succeeded'));
    assert.equal(readFileSync(stage.file('log'), 'utf8'), '/etc/kubernetes: etcd-peer\n');
  });

  it('keeps them pending after a renewal that the end of the agent interrupts', async (context) => {
    const stage = await Stage.open(context, '');
    const report = `report() { ${prints(interrupted)}\n}`;
    await stage.program.become(`${report}; trap report TERM; ${stage.waitingForever}`);
    await applyWithHook(stage, write);
    await stage.stopWhileRunning();
    const [failed] = stage.logger.all('pki_failed');
    assert.deepEqual([failed?.['code'], failed?.['certificates']], ['ABORTED', ['apiserver']]);
    assert.deepEqual(stage.logger.events, ['pki_failed']);
    assert.deepEqual(stage.observer.pkiRenewals, ['failed']);
    assert.deepEqual(stage.records, {
      '/etc/kubernetes': {
        hooksPending: '4f2a',
        renewed: ['apiserver'],
        reported: { apiserver: '4f2a' },
      },
    });
  });

  it('disables them if others can write the configuration file', async (context) => {
    const stage = await Stage.open(context, prints(renewedDocument));
    const file = stage.file('config.yaml');
    await writeFile(file, '');
    await chmod(file, 0o666);
    stage.renewals.apply({ ...pkiConfig, hooks: [await stage.hook(write)] }, file);
    await stage.checked(1);
    assert.deepEqual(stage.logger.events, ['hooks_refused', 'pki_renewed', 'hooks_refused']);
    assert.match(stage.status.hooks?.[0]?.failure?.message ?? '', /^hooks are disabled/);
    assert.equal(stage.records['/etc/kubernetes']?.hooksPending, '4f2a');
  });
});

function exists(path: string): boolean {
  try {
    readFileSync(path);
    return true;
  } catch {
    return false;
  }
}
