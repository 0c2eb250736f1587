import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { chmod, mkdir, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import type { PairFacts } from '../../src/core/certificate.ts';
import type { AgentConfig, TrustConfig } from '../../src/core/config.ts';
import type { HookSpec } from '../../src/core/hooks.ts';
import { day, hour, minute, second } from '../../src/core/instant.ts';
import type { TrustStatus } from '../../src/core/status.ts';
import type { TrustReport } from '../../src/core/trust-report.ts';
import type { HookRecords } from '../../src/keeper/hook-journal.ts';
import { HookJournal } from '../../src/keeper/hook-journal.ts';
import { TrustReissues } from '../../src/keeper/trust-reissues.ts';
import { TrustSyncs } from '../../src/keeper/trust-syncs.ts';
import { clientTemplate, pairFor, start } from '../core/fixtures.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { trustDefaults } from '../support/trust-defaults.ts';
import { agentConfig, RecordingLogger, RecordingObserver, until } from './fixtures.ts';
import { OwnProgram } from './own-program.ts';
import { clientLeaf, newCa, oldCa, printsReport, trustReport } from './trust-documents.ts';

const changedAt = Date.UTC(2026, 0, 1, 12);
const changed = trustReport({ outcome: 'changed', authorities: [oldCa, newCa], changedAt });
const refusal = {
  code: 'TRUST_REFUSED',
  message: 'the bundle has 17 CAs',
  remedy: 'Remove some',
  reason: 'too-many',
} as const;
const refused = trustReport({ outcome: 'refused', refusal });
const waiting = trustReport({
  outcome: 'waiting',
  failure: { code: 'API_UNREACHABLE', message: 'the API server is unreachable' },
});

/** The checks of an agent with a script in the place of the command. */
class Stage {
  readonly clock = new FakeClock();
  readonly logger = new RecordingLogger();
  readonly observer = new RecordingObserver();
  readonly program: OwnProgram;
  readonly syncs: TrustSyncs;
  readonly reissues: TrustReissues;
  readonly pair: PairFacts = pairFor(clientTemplate, { serial: 'a', notBefore: start - hour });
  /** The agent reads its pairs while the first run is in progress. */
  isStarting = false;
  records: HookRecords;

  private constructor(program: OwnProgram, records: HookRecords) {
    this.program = program;
    this.records = records;
    const { clock, logger, observer } = this;
    this.reissues = new TrustReissues({ clock, logger, behindSince: {}, save: () => undefined });
    this.syncs = new TrustSyncs({
      program: [program.path],
      env: {},
      clock,
      random: () => 0.5,
      logger,
      observer,
      journal: new HookJournal(records, (saved) => {
        this.records = saved;
      }),
      reissues: this.reissues,
      pairs: () => {
        const found = new Map(this.isStarting ? [] : [['kubelet-client', this.pair]]);
        this.isStarting = false;
        return found;
      },
    });
  }

  static async open(
    context: TestContext,
    report: TrustReport | string = trustReport(),
    records: HookRecords = {},
  ): Promise<Stage> {
    const script = typeof report === 'string' ? report : printsReport(report);
    const stage = new Stage(await OwnProgram.create(context, script), records);
    context.after(async () => {
      await stage.syncs[Symbol.asyncDispose]();
    });
    return stage;
  }

  configure(changes: Partial<TrustConfig> = {}, node: Partial<AgentConfig> = {}): void {
    this.syncs.apply({ ...agentConfig('/node'), trust: { ...trustDefaults, ...changes }, ...node });
  }

  get status(): TrustStatus {
    const { status } = this.syncs;
    assert.ok(status !== undefined);
    return status;
  }

  /** Milliseconds until the next run. */
  get pause(): number {
    return (this.status.nextCheck ?? NaN) - this.clock.now();
  }

  /** Waits until the agent waits after this number of runs. */
  async ran(times: number): Promise<void> {
    await until(`the end of run ${times}`, () => {
      const { calls } = this.program;
      return calls.length === times && this.syncs.status?.nextCheck !== undefined;
    });
    // The wait begins after the status is known.
    await until('the wait', () => this.clock.sleeping > 0);
  }

  /** The next run, with this report. */
  async next(report: TrustReport): Promise<void> {
    await this.program.become(printsReport(report));
    const times = this.program.calls.length + 1;
    await this.pass(this.pause);
    await this.ran(times);
  }

  /** Lets time pass, while the agent reads real files between its slices. */
  async pass(ms: number): Promise<void> {
    const end = this.clock.elapsed() + ms;
    const runs = this.program.calls.length;
    while (this.clock.elapsed() < end && this.program.calls.length === runs) {
      await until('the wait', () => this.clock.sleeping > 0 || this.program.calls.length > runs);
      await this.clock.advance(Math.min(30 * second, end - this.clock.elapsed()));
    }
  }

  file(name: string): string {
    return join(this.program.directory, name);
  }

  /** A hook that runs a shell script with this text. */
  async hook(text: string): Promise<HookSpec> {
    const path = this.file('hook');
    await writeFile(path, `#!/bin/sh\n${text}\n`);
    await chmod(path, 0o755);
    return { kind: 'command', argv: [path], timeoutMs: 30 * second, retries: 0 };
  }
}

describe('TrustSyncs', () => {
  it('runs the command at once and every ten minutes', async (context) => {
    const stage = await Stage.open(context);
    assert.equal(stage.syncs.status, undefined);
    stage.configure({}, { file: '/etc/nodecertd/config.yaml' });
    assert.equal(stage.status.state, 'starting');
    await stage.ran(1);
    assert.equal(stage.status.state, 'in-sync');
    assert.deepEqual(stage.status.report, trustReport());
    assert.equal(stage.pause, 10 * minute);
    assert.deepEqual(stage.program.calls, [
      'trust sync --unattended --output json --refresh --config /etc/nodecertd/config.yaml --hostname-override worker-1 --kubeconfig /node/kubelet.conf --bootstrap-kubeconfig /node/bootstrap.conf --cert-dir /node/pki --state-dir /node/state --kubelet-config /node/kubelet.yaml',
    ]);
    await stage.pass(10 * minute);
    await stage.ran(2);
    assert.doesNotMatch(stage.program.calls[1] ?? '', /--refresh/);
    assert.deepEqual(stage.logger.events, []);
  });

  it('runs earlier if the command asks for it, but not at once', async (context) => {
    const stage = await Stage.open(context, trustReport({ retryAfterSeconds: 60 }));
    stage.configure();
    await stage.ran(1);
    assert.equal(stage.pause, minute);
    await stage.next(trustReport({ retryAfterSeconds: 0 }));
    assert.equal(stage.pause, 10 * second);
    await stage.next(trustReport({ retryAfterSeconds: 3_600 }));
    assert.equal(stage.pause, 10 * minute);
  });

  const changes: readonly [string, (stage: Stage, file: string) => Promise<void>][] = [
    [
      'renamed over',
      async (stage, file) => {
        await writeFile(stage.file('next'), 'new');
        await rename(stage.file('next'), file);
      },
    ],
    [
      'written in place',
      async (_, file) => {
        await writeFile(file, 'new');
      },
    ],
    [
      'swapped behind a link of its directory',
      async (stage) => {
        await symlink('v2', stage.file('data.new'));
        await rename(stage.file('data.new'), stage.file('data'));
      },
    ],
  ];
  for (const [how, change] of changes) {
    it(`runs within a minute of a trust.file that is ${how}`, async (context) => {
      const stage = await Stage.open(context);
      for (const version of ['v1', 'v2']) {
        await mkdir(stage.file(version));
        await writeFile(stage.file(`${version}/ca.crt`), version);
      }
      await symlink('v1', stage.file('data'));
      await symlink('data/ca.crt', stage.file('ca.crt'));
      const file = how.startsWith('swapped') ? stage.file('ca.crt') : stage.file('v1/ca.crt');
      stage.configure({ file });
      await stage.ran(1);
      await stage.pass(2 * minute);
      assert.equal(stage.program.calls.length, 1);
      await change(stage, file);
      await stage.pass(minute);
      await stage.ran(2);
      assert.match(stage.program.calls[1] ?? '', / --refresh /);
    });
  }

  it('runs a minute after a suspend, and after a clock that is set back', async (context) => {
    const stage = await Stage.open(context);
    stage.configure();
    await stage.ran(1);
    stage.clock.jump(2 * hour);
    await stage.pass(minute);
    await stage.ran(2);
    stage.clock.jump(-30 * day);
    await stage.pass(10 * minute);
    await stage.ran(3);
  });

  it('logs a change, and each new stage and finding once', async (context) => {
    const finding = { id: 'ca_ambiguous', message: 'two CAs are called CN=kubernetes' };
    const report = { ...changed, stage: 'union', findings: [finding] } as const;
    const stage = await Stage.open(context);
    stage.configure();
    await stage.ran(1);
    await stage.next(report);
    await stage.next({ ...report, outcome: 'in-sync' });
    // It restarted the kubelet.
    await stage.next(report);
    assert.deepEqual(stage.logger.lines, [
      {
        event: 'trust_changed',
        cas: [oldCa.fingerprint, newCa.fingerprint],
        at: '2026-01-01T12:00:00Z',
      },
      { event: 'trust_stage', from: 'single', to: 'union' },
      {
        event: 'trust_finding',
        id: 'ca_ambiguous',
        finding: 'two CAs are called CN=kubernetes',
        remedy: undefined,
      },
    ]);
  });

  it('counts each refusal, and logs it once, with its recovery', async (context) => {
    const stage = await Stage.open(context, refused);
    stage.configure();
    await stage.ran(1);
    const { since } = stage.status;
    await stage.next(refused);
    assert.equal(stage.status.since, since);
    assert.equal(stage.status.failure?.message, 'the bundle has 17 CAs');
    await stage.next(waiting);
    assert.equal(stage.status.waitsFor, 'the API server is unreachable');
    await stage.next(trustReport());
    assert.equal(stage.status.failure, undefined);
    assert.deepEqual(stage.logger.events, ['trust_refused', 'trust_waiting', 'trust_recovered']);
    assert.deepEqual(stage.observer.trustRefusals, ['too-many', 'too-many']);
  });

  it('keeps what it knows when the command itself fails', async (context) => {
    const stage = await Stage.open(context);
    stage.configure();
    await stage.ran(1);
    await stage.program.become('echo "error: no memory" >&2; exit 1');
    await stage.pass(10 * minute);
    await stage.ran(2);
    const { state, failure, report } = stage.status;
    assert.equal(state, 'failed');
    assert.equal(
      failure?.message,
      'nodecertd trust sync --unattended failed with exit code 1: error: no memory',
    );
    assert.ok(failure.remedy);
    assert.deepEqual(report, trustReport());
    const pauses = [];
    for (let run = 3; run <= 7; run += 1) {
      pauses.push(stage.pause / minute);
      await stage.pass(stage.pause);
      await stage.ran(run);
    }
    assert.deepEqual(pauses, [1, 2, 4, 8, 10]);
    assert.deepEqual(stage.logger.events, ['trust_failed']);
  });

  it('fails on a document of another kind', async (context) => {
    const stage = await Stage.open(context, `echo '{"kind":"UnattendedRenewal"}'`);
    stage.configure();
    await stage.ran(1);
    assert.match(stage.status.failure?.message ?? '', / printed an unexpected document$/);
  });

  it('reports the certificates that are behind', async (context) => {
    const leaves = [{ ...clientLeaf, isBehind: true }];
    const stage = await Stage.open(context, trustReport({ leaves }));
    stage.configure({ reissueSpreadSeconds: 0 });
    await stage.ran(1);
    assert.deepEqual(stage.status.reissues, [
      { name: 'kubelet-client', kind: 'scheduled', at: stage.clock.now() },
    ]);
    // A run that failed does not know the CA of the signer.
    const failure = { code: 'INTERNAL', message: 'no space left' } as const;
    await stage.next(trustReport({ outcome: 'failed', failure }));
    assert.equal(stage.status.reissues.length, 1);
    await stage.next(trustReport());
    assert.deepEqual(stage.status.reissues, []);
  });

  it('knows after the first run what is behind, although it began without pairs', async (context) => {
    const leaves = [{ ...clientLeaf, isBehind: true }];
    const stage = await Stage.open(context, trustReport({ leaves }));
    stage.isStarting = true;
    stage.configure({ reissueSpreadSeconds: 0 });
    await stage.ran(1);
    assert.equal(stage.isStarting, false);
    assert.equal(stage.reissues.isDue('kubelet-client', stage.pair), true);
  });

  it('tells whether the last run could read the Node', async (context) => {
    const findings = [{ id: 'node_unreadable', message: 'HTTP status 401' }];
    const stage = await Stage.open(context, trustReport({ findings }));
    stage.configure();
    await stage.ran(1);
    assert.equal(stage.reissues.isNodeUnreadable, true);
    await stage.next(trustReport());
    assert.equal(stage.reissues.isNodeUnreadable, false);
  });

  it('waits for a host name', async (context) => {
    const stage = await Stage.open(context);
    stage.configure({}, { placeholderHostName: 'localhost' });
    assert.equal(stage.syncs.status, undefined);
    stage.configure();
    await stage.ran(1);
  });

  it('stops when it is disabled', async (context) => {
    const stage = await Stage.open(context);
    stage.configure();
    await stage.ran(1);
    stage.syncs.apply(agentConfig('/node'));
    assert.equal(stage.syncs.status, undefined);
    await stage.clock.advance(hour);
    assert.equal(stage.program.calls.length, 1);
  });
});

describe('TrustSyncs with hooks', () => {
  const write = 'echo "$NODECERTD_TRUST_CHANGED_AT $NODECERTD_TRUST_CAS" >> "$(dirname $0)/log"';
  const expected = `2026-01-01T12:00:00Z ${oldCa.fingerprint} ${newCa.fingerprint}\n`;

  it('runs them once after a change', async (context) => {
    const stage = await Stage.open(context, changed);
    stage.configure({ hooks: [await stage.hook(write)] });
    await until('the hook', () => stage.logger.events.includes('hook_succeeded'));
    assert.equal(readFileSync(stage.file('log'), 'utf8'), expected);
    await stage.ran(1);
    await stage.next({ ...changed, outcome: 'in-sync' });
    assert.equal(stage.logger.all('hook_started').length, 1);
    assert.equal(stage.status.hooks?.[0]?.failure, undefined);
    const [run] = stage.observer.hookRuns;
    assert.equal(run, `onTrustChange ${stage.file('hook')} succeeded`);
  });

  it('runs them after a change that no report called one', async (context) => {
    const stage = await Stage.open(context);
    stage.configure({ hooks: [await stage.hook(write)] });
    await stage.ran(1);
    await stage.next({ ...changed, outcome: 'in-sync' });
    await until('the hook', () => stage.logger.events.includes('hook_succeeded'));
  });

  it('runs the pending hooks of an earlier run', async (context) => {
    const serial = '2026-01-01T12:00:00Z';
    const records = {
      onTrustChange: { hooksPending: serial, reported: { onTrustChange: serial } },
    };
    const stage = await Stage.open(context, { ...changed, outcome: 'in-sync' }, records);
    stage.configure({ hooks: [await stage.hook(write)] });
    await until('the hook', () => stage.logger.events.includes('hook_succeeded'));
    await stage.ran(1);
    assert.equal(stage.logger.all('hook_started').length, 1);
    assert.equal(stage.records['onTrustChange']?.hooksPending, undefined);
  });
});
