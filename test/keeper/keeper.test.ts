import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { chmod, mkdir, mkdtemp, realpath, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import type { ChildListener, EnrollerChild } from '../../src/keeper/enroller-link.ts';
import { Keeper } from '../../src/keeper/keeper.ts';
import { HookJournal } from '../../src/keeper/hook-journal.ts';
import { RequestJournal } from '../../src/keeper/request-journal.ts';
import type { PairFacts } from '../../src/core/certificate.ts';
import type { CertificateSpec } from '../../src/core/certificate-spec.ts';
import type {
  EnrollerCommand,
  EnrollerNotice,
  EnrollerReply,
} from '../../src/core/enroller-protocol.ts';
import { hour, minute, second } from '../../src/core/instant.ts';
import { clientTemplate, pairFor, servingSpec, servingTemplate, start } from '../core/fixtures.ts';
import { FakeClock } from '../support/fake-clock.ts';
import {
  agentConfig,
  clientSpec,
  RecordingLogger,
  RecordingObserver,
  requestTypesOf,
  until,
} from './fixtures.ts';

type Reported = (EnrollerReply | EnrollerNotice) & {
  readonly name?: string;
  readonly attempt?: number;
};

function isNotice(report: EnrollerReply | EnrollerNotice): report is EnrollerNotice {
  const known = [
    'api-request',
    'clock-skew',
    'insecure',
    'stale-kubeconfig',
    'credential',
    'identity-refused',
  ];
  return known.includes(report.type);
}

interface StageOptions {
  readonly certificates?: readonly CertificateSpec[];
  readonly preflight?: boolean;
}

/** A keeper on a real directory. The test acts as the enroller. */
class Stage implements AsyncDisposable {
  readonly directory: string;
  readonly clock = new FakeClock(start);
  readonly logger = new RecordingLogger();
  readonly observer = new RecordingObserver();
  readonly commands: object[] = [];
  readonly #sent: Exclude<EnrollerCommand, { type: 'abandon' }>[] = [];
  readonly #answered = new Set<number>();
  readonly keeper: Keeper;
  looksAtInterfaces = 0;
  /** The certificates that another CA issued than their signer uses: name and serial. */
  readonly behind = new Set<string>();
  readonly reissues = {
    isDue: (name: string, { serial }: PairFacts) => this.behind.has(`${name} ${serial}`),
    isNodeUnreadable: false,
  };
  #listener: ChildListener | undefined;
  #exited = false;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  private constructor(directory: string, { certificates, preflight }: Required<StageOptions>) {
    this.directory = directory;
    this.keeper = new Keeper({
      config: agentConfig(directory, certificates),
      configFile: join(directory, 'config.yaml'),
      version: 'test',
      clock: this.clock,
      random: () => 0.5,
      interfaces: () => {
        this.looksAtInterfaces += 1;
        return ['10.0.0.1'];
      },
      launch: (listener) => this.#launch(listener),
      logger: this.logger,
      observer: this.observer,
      hookJournal: new HookJournal({}, () => undefined),
      journal: new RequestJournal({}, () => undefined),
      releaseMemory: () => undefined,
      preflight,
      reissues: this.reissues,
    });
    this.#running = this.keeper.run(this.#stop.signal);
  }

  static async open(
    certificates: readonly CertificateSpec[] = [clientSpec],
    preflight = false,
  ): Promise<Stage> {
    const directory = await mkdtemp(join(tmpdir(), 'nodecertd-keeper-'));
    await mkdir(join(directory, 'pki'));
    await writeFile(join(directory, 'config.yaml'), 'one');
    const stage = new Stage(directory, { certificates, preflight });
    await until('the loop', () => stage.clock.sleeping > 0);
    return stage;
  }

  path(file: string): string {
    return join(this.directory, 'pki', file);
  }

  /** A notice, or a reply about the certificate of this name; with `attempt`, to that enrollment of it. */
  report({ name, attempt, ...report }: Reported): void {
    assert.ok(this.#listener !== undefined, 'no enroller runs');
    if (isNotice(report)) return this.#listener.onMessage(report);
    const types: readonly string[] = requestTypesOf(report);
    const sent = this.#sent.filter(
      (command) =>
        types.includes(command.type) &&
        (name === undefined || ('name' in command && command.name === name)),
    );
    const unanswered = sent.find(({ id }) => !this.#answered.has(id)) ?? sent.at(-1);
    const chosen = attempt === undefined ? unanswered : sent[attempt - 1];
    assert.ok(chosen !== undefined, `nothing was requested that ${report.type} answers`);
    if (attempt === undefined) this.#answered.add(chosen.id);
    this.#listener.onMessage({ ...report, id: chosen.id });
  }

  end(how: string): void {
    this.#exited = true;
    this.#listener?.onExit(how);
  }

  has(type: EnrollerCommand['type'], name?: string): boolean {
    return this.count(type, name) > 0;
  }

  count(type: EnrollerCommand['type'], name?: string): number {
    return this.commands.filter(
      (command) =>
        'type' in command &&
        command.type === type &&
        (name === undefined || ('name' in command && command.name === name)),
    ).length;
  }

  /** The linked pair, as the enroller reports it. */
  async inspected(name: string, template = clientTemplate): Promise<void> {
    const pair = pairFor(template, { notAfter: start + 100 * hour });
    this.report({ type: 'inspected', name, pair, findings: [] });
    await this.clock.advance(2 * minute);
  }

  /** Creates the link, and answers the inspection that follows. Without a link, a change triggers no inspection. */
  async linked(target: string): Promise<void> {
    await this.inspected('kubelet-client');
    const before = this.count('inspect');
    await symlink(target, this.path('kubelet-client-current.pem'));
    await until('an inspection of the link', () => this.count('inspect') > before);
    await this.inspected('kubelet-client');
  }

  /** The pair behind the link, as the enroller reads it: the content is its serial. */
  inspection(): PairFacts | undefined {
    const link = this.path('kubelet-client-current.pem');
    if (!existsSync(link)) return undefined;
    const serial = readFileSync(link, 'utf8');
    return pairFor(clientTemplate, { serial, path: link, notAfter: start + 100 * hour });
  }

  /** The reply to an inspection. */
  found(pair: PairFacts | undefined): void {
    const report = { type: 'inspected', name: 'kubelet-client', findings: [] } as const;
    this.report({ ...report, ...(pair !== undefined && { pair }) });
  }

  /** Answers every inspection until no more follow. Returns their number. */
  async settle(seen: number): Promise<number> {
    let answered = seen;
    for (let quiet = 0; quiet < 3;) {
      await this.clock.advance(minute);
      await until('a pause', () => this.clock.sleeping > 0);
      const requested = this.count('inspect');
      quiet = requested > answered ? 0 : quiet + 1;
      for (; answered < requested; answered += 1) this.found(this.inspection());
    }
    return answered - seen;
  }

  /** Links another pair, as the store does. */
  swap(serial: string): PairFacts {
    const target = this.path(`kubelet-client-${serial}.pem`);
    const link = this.path('kubelet-client-current.pem');
    writeFileSync(target, serial);
    symlinkSync(target, `${link}.new`);
    renameSync(`${link}.new`, link);
    return pairFor(clientTemplate, { serial, path: link, notAfter: start + 100 * hour });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await rm(this.directory, { recursive: true, force: true });
  }

  #launch(listener: ChildListener): EnrollerChild {
    this.#listener = listener;
    this.#exited = false;
    return {
      pid: 4_711,
      send: (command) => {
        if (command.type === 'abandon') return void this.commands.push(command);
        this.#sent.push(command);
        const { id: _, ...request } = command;
        this.commands.push(request);
      },
      disconnect: () => {
        setImmediate(() => {
          if (!this.#exited) this.end('exit code 0');
        });
      },
      kill: () => undefined,
    };
  }
}

describe('Keeper', () => {
  it('inspects every pair first, and requests missing certificates', async () => {
    await using stage = await Stage.open();
    assert.deepEqual(stage.commands, [{ type: 'inspect', name: 'kubelet-client' }]);
    assert.equal(stage.keeper.status().certificates[0]?.state, 'starting');
    stage.report({ type: 'inspected', name: 'kubelet-client', findings: [] });
    assert.ok(stage.has('enroll', 'kubelet-client'));
  });

  it('requests a certificate that is behind, once', async () => {
    await using stage = await Stage.open();
    await stage.inspected('kubelet-client');
    assert.equal(stage.has('enroll'), false);
    const serial = stage.keeper.pairs.get('kubelet-client')?.serial ?? '';
    stage.behind.add(`kubelet-client ${serial}`);
    await stage.clock.advance(minute);
    await until('the request', () => stage.has('enroll', 'kubelet-client'));
    const [started] = stage.logger.all('rotation_started');
    assert.equal(started?.['reason'], 'issuer-behind');
    const pair = pairFor(clientTemplate, { serial: 'b', notAfter: start + 100 * hour });
    stage.report({ type: 'stored', name: 'kubelet-client', attempt: 1, pair, findings: [] });
    await stage.clock.advance(10 * minute);
    assert.equal(stage.count('enroll'), 1);
  });

  it('looks up the Node if the check of the trusted CAs cannot read it', async () => {
    await using stage = await Stage.open();
    await stage.inspected('kubelet-client');
    assert.equal(stage.has('look-up-addresses'), false);
    stage.reissues.isNodeUnreadable = true;
    await stage.clock.advance(minute);
    await until('the lookup', () => stage.has('look-up-addresses'));
    stage.report({ type: 'identity-refused', error: '401' });
    assert.ok(stage.has('enroll', 'kubelet-client'));
  });

  it('has only the pairs that the kubelet does not rotate', async () => {
    await using stage = await Stage.open();
    const pair = pairFor(clientTemplate, { notAfter: start + 100 * hour });
    const observed = { file: '/var/lib/kubelet/config.yaml', key: 'rotateCertificates' };
    const report = { type: 'inspected', name: 'kubelet-client', pair, findings: [] } as const;
    stage.report({ ...report, observed });
    assert.equal(stage.keeper.pairs.size, 0);
  });

  it('requests other certificates once there is a client certificate', async () => {
    await using stage = await Stage.open([clientSpec, servingSpec]);
    stage.report({ type: 'inspected', name: 'kubelet-server', findings: [] });
    stage.report({ type: 'inspected', name: 'kubelet-client', findings: [] });
    await stage.clock.advance(5 * minute);
    assert.equal(stage.has('look-up-addresses'), false);
    assert.equal(stage.has('enroll', 'kubelet-server'), false);
    const pair = pairFor(clientTemplate);
    stage.report({ type: 'stored', name: 'kubelet-client', attempt: 1, pair, findings: [] });
    assert.ok(stage.has('look-up-addresses'));
    assert.equal(stage.has('enroll', 'kubelet-server'), false);
    const addresses = [
      { type: 'InternalIP', address: '10.0.0.1' },
      { type: 'Hostname', address: 'worker-1' },
    ];
    stage.report({ type: 'addresses', addresses, final: true });
    assert.deepEqual(stage.commands.at(-1), {
      type: 'enroll',
      name: 'kubelet-server',
      template: servingTemplate,
    });
  });

  it('shows why the addresses of the Node cannot be read', async () => {
    await using stage = await Stage.open([clientSpec, servingSpec]);
    stage.report({ type: 'inspected', name: 'kubelet-server', findings: [] });
    const pair = pairFor(clientTemplate);
    stage.report({ type: 'inspected', name: 'kubelet-client', findings: [], pair });
    const failure = { code: 'API_ANONYMOUS', message: 'it sees no certificate' } as const;
    stage.report({ type: 'addresses-failed', failure });
    const [client, serving] = stage.keeper.status().certificates;
    assert.equal(client?.lastFailure, undefined);
    assert.equal(serving?.state, 'waiting-for-addresses');
    assert.deepEqual(serving.lastFailure, { ...failure, at: stage.clock.now() });
    await stage.clock.advance(2 * minute);
    await until('a second lookup', () => stage.count('look-up-addresses') === 2);
    stage.report({ type: 'addresses', addresses: [], final: false });
    assert.equal(stage.keeper.status().certificates[1]?.lastFailure, undefined);
  });

  it('shows that the API server cannot be verified until a lookup succeeds', async () => {
    await using stage = await Stage.open([clientSpec, servingSpec]);
    const pair = pairFor(clientTemplate);
    stage.report({ type: 'inspected', name: 'kubelet-client', findings: [], pair });
    const failure = { code: 'API_UNTRUSTED', message: 'signed by another CA' } as const;
    stage.report({ type: 'addresses-failed', failure });
    assert.equal(stage.keeper.status().trust?.message, failure.message);
    await stage.clock.advance(2 * minute);
    await until('a second lookup', () => stage.count('look-up-addresses') === 2);
    stage.report({ type: 'addresses', addresses: [], final: false });
    assert.equal(stage.keeper.status().trust, undefined);
  });

  it('runs one round per minute while it waits', async () => {
    await using stage = await Stage.open([clientSpec, servingSpec]);
    stage.report({ type: 'inspected', name: 'kubelet-server', findings: [] });
    stage.report({ type: 'inspected', name: 'kubelet-client', findings: [] });
    await stage.clock.advance(minute);
    const before = stage.looksAtInterfaces;
    for (let round = 0; round < 10; round += 1) {
      await stage.clock.advance(minute);
      await until('the next pause', () => stage.clock.sleeping > 0);
    }
    const rounds = stage.looksAtInterfaces - before;
    assert.ok(rounds >= 9 && rounds <= 12, `${rounds} rounds in ten minutes`);
    assert.equal(stage.clock.now() - stage.keeper.lastTick <= minute, true);
  });

  const changes: readonly (readonly [string, (path: string) => Promise<void>])[] = [
    ['removed', (path) => unlink(path)],
    ['removed behind the link', async (path) => unlink(await realpath(path))],
    ['overwritten', (path) => writeFile(path, 'junk')],
    ['made writable for other users', (path) => chmod(path, 0o666)],
    ['put in a directory that other users may write to', (path) => chmod(dirname(path), 0o777)],
    ['removed with its directory', (path) => rm(dirname(path), { recursive: true })],
    [
      'replaced by a plain file',
      async (path) => {
        await unlink(path);
        await writeFile(path, 'plain');
      },
    ],
  ];
  for (const [what, change] of changes) {
    it(`inspects the pair when it was ${what}`, async () => {
      await using stage = await Stage.open();
      const target = stage.path('kubelet-client-2026-11-22-19-05-00.pem');
      await writeFile(target, 'pair');
      await stage.linked(target);
      const before = stage.count('inspect');
      await change(stage.path('kubelet-client-current.pem'));
      await until('another inspection', () => stage.count('inspect') > before);
    });
  }

  const moments: readonly (readonly [string, (stage: Stage, change: () => void) => void])[] = [
    [
      'between the inspection and its report',
      (stage, change) => {
        const pair = stage.inspection();
        change();
        stage.found(pair);
      },
    ],
    [
      'at the moment of the report',
      (stage, change) => {
        stage.found(stage.inspection());
        change();
      },
    ],
    [
      'before the inspection, which finds it',
      (stage, change) => {
        change();
        stage.found(stage.inspection());
      },
    ],
  ];
  for (const [when, happens] of moments) {
    it(`ends with the current pair after a change ${when}`, async () => {
      await using stage = await Stage.open();
      stage.swap('1');
      happens(stage, () => writeFileSync(stage.path('kubelet-client-1.pem'), '2'));
      const looks = await stage.settle(1);
      assert.equal(stage.keeper.status().certificates[0]?.current?.serial, '2');
      assert.ok(looks >= 1 && looks <= 2, `${looks} looks`);
    });
  }

  it('leaves the kubeconfig to the enroller while that stores the client certificate', async () => {
    await using stage = await Stage.open();
    stage.found(undefined);
    const kubeconfig = join(stage.directory, 'kubelet.conf');
    const csr = { name: 'csr-1', uid: '1', createdAt: stage.clock.now() };
    stage.report({ type: 'requested', name: 'kubelet-client', csr });
    stage.report({ type: 'issued', name: 'kubelet-client', csr });
    await writeFile(kubeconfig, 'written by the enroller');
    for (let round = 0; round < 3; round += 1) {
      await stage.clock.advance(minute);
      await until('a pause', () => stage.clock.sleeping > 0);
    }
    assert.equal(stage.count('inspect'), 1);
    const pair = pairFor(clientTemplate, { notAfter: start + 100 * hour });
    stage.report({ type: 'stored', name: 'kubelet-client', pair, findings: [] });
    await until('an inspection', () => stage.count('inspect') === 2);
  });

  it('inspects once after its own rotation, and logs no change', async () => {
    await using stage = await Stage.open();
    stage.found(undefined);
    let seen = 1;
    for (let round = 1; round <= 20; round += 1) {
      await until('a request', () => stage.count('enroll') === round);
      const report = { name: 'kubelet-client', attempt: round } as const;
      const csr = { name: `csr-${round}`, uid: `${round}`, createdAt: stage.clock.now() };
      stage.report({ type: 'requested', ...report, csr });
      stage.report({ type: 'issued', ...report, csr });
      await until('a pause', () => stage.clock.sleeping > 0);
      // A round may also run between the change of the link and the report.
      const pair = stage.swap(`${round}`);
      await stage.clock.advance(minute);
      await until('a pause', () => stage.clock.sleeping > 0);
      stage.report({ type: 'stored', ...report, pair, findings: [] });
      const looks = await stage.settle(seen);
      assert.equal(looks, 1);
      seen += looks + 1;
      // Another program removes the pair: the next round.
      rmSync(stage.path('kubelet-client-current.pem'));
      await until('another inspection', () => stage.count('inspect') === seen);
      stage.found(undefined);
    }
    const serials = stage.logger.all('pair_changed').map((line) => line['serial']);
    assert.deepEqual(
      serials,
      Array.from({ length: 20 }, () => undefined),
    );
  });

  it('inspects once more after a repair', async () => {
    await using stage = await Stage.open();
    stage.swap('1');
    chmodSync(stage.path('kubelet-client-1.pem'), 0o644);
    await stage.settle(1);
    const before = stage.count('inspect');
    chmodSync(stage.path('kubelet-client-1.pem'), 0o666);
    await until('an inspection', () => stage.count('inspect') === before + 1);
    chmodSync(stage.path('kubelet-client-1.pem'), 0o600);
    stage.found(stage.inspection());
    assert.equal(await stage.settle(before + 1), 1);
  });

  it('limits inspections of a pair that changes all the time', async () => {
    await using stage = await Stage.open();
    stage.swap('1');
    let answered = 0;
    const answer = async (): Promise<void> => {
      for (; answered < stage.count('inspect'); answered += 1) {
        writeFileSync(stage.path('kubelet-client-1.pem'), `${answered}`);
        stage.found(stage.inspection());
        writeFileSync(stage.path('kubelet-client-1.pem'), `changed ${answered}`);
        await until('a pause', () => stage.clock.sleeping > 0);
      }
    };
    await answer();
    assert.equal(answered, 6);
    await stage.clock.advance(minute);
    await until('an inspection', () => stage.count('inspect') > 6);
    await answer();
    assert.equal(answered, 11);
  });

  it('does not open the pair, which may be a pipe', async () => {
    await using stage = await Stage.open();
    const pipe = stage.path('pipe');
    execFileSync('mkfifo', [pipe]);
    await stage.linked(pipe);
    const before = stage.count('inspect');
    await unlink(stage.path('kubelet-client-current.pem'));
    await until('another inspection', () => stage.count('inspect') > before);
  });

  it('retries at once when a kubeconfig changes', async () => {
    await using stage = await Stage.open();
    stage.report({ type: 'inspected', name: 'kubelet-client', findings: [] });
    const failure = { code: 'KUBECONFIG_MISSING', message: 'none' } as const;
    stage.report({ type: 'failed', name: 'kubelet-client', attempt: 1, failure, resumable: false });
    await until('a pause', () => stage.clock.sleeping > 0);
    const before = stage.count('enroll');
    await writeFile(join(stage.directory, 'bootstrap.conf'), 'token');
    await until('another request', () => stage.count('enroll') > before);
  });

  it('requests another client certificate once when the API server refuses the valid one', async () => {
    await using stage = await Stage.open();
    await stage.inspected('kubelet-client');
    const refused = { type: 'identity-refused', error: '401' } as const;
    stage.report(refused);
    stage.report(refused);
    assert.equal(stage.count('enroll', 'kubelet-client'), 1);
    const failure = { code: 'TOKEN_REJECTED', message: 'not signed' } as const;
    stage.report({ type: 'failed', name: 'kubelet-client', attempt: 1, failure, resumable: false });
    stage.report(refused);
    assert.equal(stage.count('enroll', 'kubelet-client'), 1);
  });

  it('replaces a client certificate that the API server refuses at most once an hour', async () => {
    await using stage = await Stage.open();
    await stage.inspected('kubelet-client');
    const refused = { type: 'identity-refused', error: '401' } as const;
    stage.report(refused);
    const pair = pairFor(clientTemplate, { serial: '02', notAfter: start + 100 * hour });
    stage.report({ type: 'stored', name: 'kubelet-client', attempt: 1, pair, findings: [] });
    await stage.clock.advance(30 * minute);
    stage.report(refused);
    assert.equal(stage.count('enroll', 'kubelet-client'), 1);
    await stage.clock.advance(30 * minute);
    stage.report(refused);
    assert.equal(stage.count('enroll', 'kubelet-client'), 2);
  });

  it('logs once that the configuration changed', async () => {
    await using stage = await Stage.open();
    await writeFile(join(stage.directory, 'config.yaml'), 'another');
    await until('the line', () => stage.logger.all('config_changed').length > 0);
    await stage.clock.advance(5 * minute);
    assert.equal(stage.logger.all('config_changed').length, 1);
  });

  it('reports a lost enroller as a failed attempt, and starts another', async () => {
    await using stage = await Stage.open();
    stage.report({ type: 'inspected', name: 'kubelet-client', findings: [] });
    stage.end('signal SIGKILL');
    const [line] = stage.logger.all('enroller_lost');
    assert.equal(line?.['code'], 'ENROLLER_LOST');
    assert.match(String(line?.['error']), /pid 4711.*SIGKILL/);
    assert.deepEqual(stage.observer.ends, ['lost']);
    assert.equal(stage.keeper.status().certificates[0]?.lastFailure?.code, 'ENROLLER_LOST');
    await stage.clock.advance(6 * second);
    await until('another request', () => stage.count('enroll') === 2);
    assert.equal(stage.observer.starts, 2);
  });

  it('shows that the loop is stuck, and in which task', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] });
    await using stage = await Stage.open();
    // The clock of the loop does not move, so no round runs.
    for (let look = 0; look < 3; look += 1) t.mock.timers.tick(minute);
    assert.equal(stage.keeper.stuckAt, undefined);
    t.mock.timers.tick(minute);
    assert.equal(stage.keeper.stuckAt, 'waiting for the next deadline');
    assert.equal(stage.keeper.lastTick, start);
    assert.equal(stage.logger.all('loop_stuck').length, 1);
    await stage.clock.advance(minute);
    await until('the next round', () => stage.keeper.stuckAt === undefined);
    assert.equal(stage.logger.all('loop_resumed').length, 1);
  });

  it('runs the preflight checks once, when no certificate is requested', async () => {
    await using stage = await Stage.open([clientSpec], true);
    stage.found(undefined);
    await until('a request', () => stage.has('enroll'));
    const csr = { name: 'csr', uid: 'u', createdAt: start };
    stage.report({ type: 'requested', name: 'kubelet-client', attempt: 1, csr });
    await until('a pause', () => stage.clock.sleeping > 0);
    assert.equal(stage.count('preflight'), 0, 'while an approver may still act');
    const pair = pairFor(clientTemplate, { notAfter: start + 100 * hour });
    stage.report({ type: 'stored', name: 'kubelet-client', attempt: 1, pair, findings: [] });
    await until('the preflight checks', () => stage.has('preflight'));
    assert.equal(stage.keeper.status().preflight, undefined);
    const finding = { id: 'second-rotator', severity: 'warning', what: 'w' } as const;
    stage.report({ type: 'preflight', findings: [finding] });
    assert.deepEqual(stage.keeper.status().preflight, [finding]);
    await stage.clock.advance(hour);
    assert.equal(stage.count('preflight'), 1);
  });

  it('runs the preflight checks while a CSR is pending', async () => {
    await using stage = await Stage.open([clientSpec], true);
    stage.found(undefined);
    await until('a request', () => stage.has('enroll'));
    const csr = { name: 'csr', uid: 'u', createdAt: start };
    stage.report({ type: 'requested', name: 'kubelet-client', attempt: 1, csr });
    await until('a pause', () => stage.clock.sleeping > 0);
    await stage.clock.advance(2 * minute);
    await until('the preflight checks', () => stage.has('preflight'));
  });

  it('logs and counts what the API client reports', async () => {
    await using stage = await Stage.open();
    stage.report({ type: 'api-request', verb: 'get', code: '200', seconds: 0.01 });
    stage.report({ type: 'clock-skew', ms: 9_000 });
    stage.report({ type: 'clock-skew', ms: -12_000 });
    stage.report({ type: 'clock-skew', ms: -13_000 });
    stage.report({ type: 'credential', source: 'bootstrap' });
    stage.report({ type: 'insecure', server: 'https://10.0.0.1' });
    assert.deepEqual(stage.observer.apiRequests, ['get 200']);
    assert.equal(stage.observer.skew, -13_000);
    assert.deepEqual(
      stage.logger.all('clock_skew').map((line) => line['seconds']),
      [-12],
    );
    assert.equal(stage.logger.all('credential_chosen').length, 1);
    assert.equal(stage.logger.all('connection_insecure')[0]?.['server'], 'https://10.0.0.1');
  });

  it('runs hooks and checks the server after a rotation', async () => {
    const command = { kind: 'command', argv: ['/bin/true'] } as const;
    const endpoints = [{ name: '127.0.0.1:1', host: '127.0.0.1', port: 1 }];
    const followed: CertificateSpec = {
      ...clientSpec,
      onRotate: [{ ...command, timeoutMs: 30 * second, retries: 0 }],
      served: { endpoints, withinMs: second, onFailure: 'rollback' },
    };
    await using stage = await Stage.open([followed]);
    const name = 'kubelet-client';
    stage.report({ type: 'inspected', name, findings: [] });
    const pair = pairFor(clientTemplate, { serial: 'b', notAfter: start + 100 * hour });
    stage.report({ type: 'stored', name, attempt: 1, pair, findings: [] });
    await until('a check of the served certificate', () => stage.has('check-served'));
    const endpoint = { endpoint: '127.0.0.1:1', state: 'unreachable', reason: 'away' } as const;
    const served = { type: 'served', name } as const;
    stage.report({ ...served, outcome: { kind: 'checked', endpoints: [endpoint] } });
    const [status] = stage.keeper.status().certificates;
    assert.equal(status?.hooks?.[0]?.name, '/bin/true');
    assert.equal(typeof status?.hooks?.[0]?.succeededAt, 'number');
    assert.deepEqual(status?.served?.endpoints, [endpoint]);
    assert.ok(stage.has('roll-back'));
    const earlier = { ...pair, serial: 'a' };
    const outcome = { kind: 'rolled-back', pair: earlier, findings: [] } as const;
    stage.report({ type: 'rolled-back', name, outcome });
    assert.equal(stage.keeper.status().certificates[0]?.current?.serial, 'a');
    assert.equal(stage.keeper.status().certificates[0]?.state, 'backing-off');
    await until('another check', () => stage.count('check-served') === 2);
    stage.end('signal SIGKILL');
    assert.equal(stage.logger.all('served_unchecked').length, 1);
    assert.deepEqual(stage.observer.hookRuns.length, 2);
  });

  it('waits for running hooks when it stops', async () => {
    const argv = ['/bin/sh', '-c', 'echo $$; sleep 60; :'];
    const hook = { kind: 'command', argv, timeoutMs: 30 * second, retries: 0 } as const;
    const stage = await Stage.open([{ ...clientSpec, onRotate: [hook] }]);
    stage.report({ type: 'inspected', name: 'kubelet-client', findings: [] });
    const pair = pairFor(clientTemplate, { notAfter: start + 100 * hour });
    stage.report({ type: 'stored', name: 'kubelet-client', attempt: 1, pair, findings: [] });
    await until('the hook', () => stage.logger.all('hook_output').length > 0);
    const pid = Number(stage.logger.all('hook_output')[0]?.['line']);
    let over = false;
    const stopping = stage[Symbol.asyncDispose]().finally(() => {
      over = true;
    });
    await until('the end', () => {
      void stage.clock.advance(second / 10);
      return over;
    });
    await stopping;
    assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
  });

  it('run() ends the enroller when it stops, and reports no loss', async () => {
    const stage = await Stage.open();
    await stage[Symbol.asyncDispose]();
    assert.equal(stage.keeper.enrollerPid, undefined);
    assert.deepEqual(stage.logger.all('enroller_lost'), []);
    assert.equal(stage.logger.all('enroller_stopped').length, 1);
    assert.equal(stage.clock.sleeping, 0);
  });
});
