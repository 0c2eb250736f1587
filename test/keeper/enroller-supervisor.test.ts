import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import type { ChildListener, EnrollerChild } from '../../src/keeper/enroller-link.ts';
import { EnrollerSupervisor } from '../../src/keeper/enroller-supervisor.ts';
import type {
  EnrollerCommand,
  EnrollerReply,
  EnrollerRequest,
} from '../../src/core/enroller-protocol.ts';
import { clientTemplate } from '../core/fixtures.ts';
import { RecordingLogger } from './fixtures.ts';

/** A child that does nothing on its own. The test decides when it reports and ends. */
class FakeChild implements EnrollerChild {
  readonly pid: number;
  readonly listener: ChildListener;
  readonly received: EnrollerCommand['type'][] = [];
  readonly ids: number[] = [];
  readonly done: string[] = [];

  constructor(pid: number, listener: ChildListener) {
    this.pid = pid;
    this.listener = listener;
  }

  send(command: EnrollerCommand): void {
    this.received.push(command.type);
    if ('id' in command) this.ids.push(command.id);
  }

  /** Replies to the nth request. */
  reply(reply: EnrollerReply, nth = 1): void {
    this.listener.onMessage({ ...reply, id: this.ids[nth - 1] ?? 0 });
  }

  disconnect(): void {
    this.done.push('disconnect');
  }

  kill(): void {
    this.done.push('kill');
  }
}

const second = 1_000;
const inspect = { type: 'inspect', name: 'a' } as const;
const inspected = { type: 'inspected', findings: [] } as const;
const enroll = { type: 'enroll', name: 'a', template: clientTemplate } as const;
const failure = { code: 'API_UNREACHABLE', message: 'away' } as const;

/** A supervisor on mock timers that records what it does. */
function supervised(t: TestContext): {
  readonly supervisor: EnrollerSupervisor;
  readonly children: FakeChild[];
  readonly calls: string[];
  readonly logger: RecordingLogger;
  readonly child: () => FakeChild;
  readonly request: (request: EnrollerRequest) => void;
} {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  const children: FakeChild[] = [];
  const calls: string[] = [];
  const logger = new RecordingLogger();
  const supervisor = new EnrollerSupervisor({
    logger,
    launch: (listener) => {
      const child = new FakeChild(100 + children.length, listener);
      children.push(child);
      return child;
    },
    listener: {
      onStarted: () => calls.push('started'),
      onFinished: () => calls.push('finished'),
      onNotice: ({ type }) => calls.push(type),
      onLost: ({ code }) => calls.push(code),
      onChange: () => undefined,
    },
  });
  const child = (): FakeChild => {
    const last = children.at(-1);
    assert.ok(last !== undefined, 'no enroller was started');
    return last;
  };
  const request = (sent: EnrollerRequest): void => {
    supervisor.request(sent, ({ type }) => calls.push(type));
  };
  return { supervisor, children, calls, logger, child, request };
}

describe('EnrollerSupervisor', () => {
  it('starts one enroller with the first request', (t) => {
    const { supervisor, children, child, logger, request } = supervised(t);
    assert.equal(supervisor.pid, undefined);
    request(inspect);
    request(enroll);
    assert.equal(children.length, 1);
    assert.equal(supervisor.pid, 100);
    assert.deepEqual(child().received, ['inspect', 'enroll']);
    assert.deepEqual(logger.lines, [{ event: 'enroller_started', pid: 100 }]);
  });

  it('abandon() starts no enroller', (t) => {
    const { supervisor, children } = supervised(t);
    supervisor.abandon('a');
    assert.deepEqual(children, []);
  });

  it('keeps an idle enroller for a moment, for the next request', (t) => {
    const { children, child, calls, request } = supervised(t);
    request(inspect);
    child().reply(inspected);
    t.mock.timers.tick(249);
    request(enroll);
    t.mock.timers.tick(10 * second);
    assert.deepEqual(children.length, 1);
    assert.deepEqual(child().done, []);
    assert.deepEqual(calls, ['started', 'inspected']);
  });

  const endings: readonly (readonly [string, EnrollerRequest, EnrollerReply, boolean])[] = [
    ['an inspection with a reply', inspect, inspected, true],
    ['an inspection that failed', inspect, { type: 'inspection-failed', failure }, true],
    ['a self-signed pair', { type: 'self-sign', name: 'a' }, inspected, true],
    ['a final failure', enroll, { type: 'failed', failure, resumable: false }, true],
    [
      'a failure with a key kept for the retry',
      enroll,
      { type: 'failed', failure, resumable: true },
      false,
    ],
    ['lost contact', enroll, { type: 'retrying', failure }, false],
    [
      'the addresses',
      { type: 'look-up-addresses', follow: false },
      { type: 'addresses', addresses: [], final: true },
      true,
    ],
    [
      'addresses that are not final',
      { type: 'look-up-addresses', follow: true },
      { type: 'addresses', addresses: [], final: false },
      false,
    ],
    [
      'a failed lookup',
      { type: 'look-up-addresses', follow: true },
      { type: 'addresses-failed', failure },
      true,
    ],
  ];
  for (const [what, command, report, released] of endings) {
    it(`${released ? 'dismisses the enroller' : 'keeps the enroller'} after ${what}`, (t) => {
      const { supervisor, child, request } = supervised(t);
      request(command);
      child().reply(report);
      t.mock.timers.tick(second);
      assert.deepEqual(child().done, released ? ['disconnect'] : []);
      assert.equal(supervisor.pid, released ? undefined : 100);
    });
  }

  it('dismisses the enroller once the key for a retry is abandoned', (t) => {
    const { supervisor, child, calls, request } = supervised(t);
    request(enroll);
    supervisor.abandon('a');
    t.mock.timers.tick(second);
    assert.deepEqual(child().done, ['disconnect']);
    assert.deepEqual(calls, ['started', 'finished']);
  });

  it('waits for the reply to every inspection', (t) => {
    const { child, request } = supervised(t);
    request(inspect);
    request(inspect);
    child().reply(inspected, 2);
    t.mock.timers.tick(second);
    assert.deepEqual(child().done, []);
    child().reply(inspected);
    t.mock.timers.tick(second);
    assert.deepEqual(child().done, ['disconnect']);
  });

  it('kills a dismissed enroller that does not end', (t) => {
    const { child, request } = supervised(t);
    request(inspect);
    child().reply(inspected);
    t.mock.timers.tick(250);
    assert.deepEqual(child().done, ['disconnect']);
    t.mock.timers.tick(2 * second);
    assert.deepEqual(child().done, ['disconnect', 'kill']);
  });

  it('does not kill an enroller that ended on its own', (t) => {
    const { child, logger, request } = supervised(t);
    request(inspect);
    child().reply(inspected);
    t.mock.timers.tick(250);
    child().listener.onExit('exit code 0');
    t.mock.timers.tick(10 * second);
    assert.deepEqual(child().done, ['disconnect']);
    assert.deepEqual(logger.take(), ['enroller_started', 'enroller_stopped']);
  });

  it('reports a lost enroller, and starts another for the next request', (t) => {
    const { supervisor, children, child, calls, request } = supervised(t);
    request(enroll);
    child().listener.onExit('signal SIGKILL');
    t.mock.timers.tick(60 * second);
    assert.deepEqual(calls, ['started', 'ENROLLER_LOST', 'lost']);
    request(enroll);
    assert.equal(children.length, 2);
    assert.equal(supervisor.pid, 101);
  });

  it('reports the error of an enroller that crashed', (t) => {
    const { child, calls, request } = supervised(t);
    request(enroll);
    child().listener.onMessage({ type: 'crashed', error: 'x is not a function' });
    child().listener.onExit('exit code 1');
    assert.deepEqual(calls, ['started', 'INTERNAL', 'lost']);
    request(enroll);
    child().listener.onExit('exit code 1');
    assert.deepEqual(calls, ['started', 'INTERNAL', 'lost', 'started', 'ENROLLER_LOST', 'lost']);
  });

  it('kills an enroller after three checks without a heartbeat', (t) => {
    const { child, calls, request } = supervised(t);
    request(enroll);
    t.mock.timers.tick(29 * second);
    assert.deepEqual(child().done, []);
    t.mock.timers.tick(second);
    assert.deepEqual(child().done, ['kill']);
    assert.deepEqual(calls, ['started', 'ENROLLER_HUNG', 'lost']);
    child().listener.onExit('signal SIGKILL');
    t.mock.timers.tick(60 * second);
    assert.deepEqual(calls, ['started', 'ENROLLER_HUNG', 'lost']);
  });

  it('counts every message as a heartbeat', (t) => {
    const { child, calls, request } = supervised(t);
    request(enroll);
    for (let round = 0; round < 5; round += 1) {
      t.mock.timers.tick(20 * second);
      child().listener.onMessage({ type: 'alive' });
    }
    assert.deepEqual(child().done, []);
    assert.deepEqual(calls, ['started']);
  });

  it('ignores a child that is no longer the current one', (t) => {
    const { supervisor, children, calls, request } = supervised(t);
    request(enroll);
    children[0]?.listener.onExit('exit code 1');
    request(enroll);
    calls.length = 0;
    children[0]?.reply(inspected);
    children[0]?.listener.onExit('again');
    assert.deepEqual(calls, []);
    assert.equal(supervisor.pid, 101);
  });

  it('stop() resolves when the process has exited, and reports no loss', async (t) => {
    const { supervisor, child, calls, request } = supervised(t);
    request(enroll);
    const stopped = supervisor.stop();
    assert.deepEqual(child().done, ['disconnect']);
    child().listener.onExit('exit code 0');
    await stopped;
    assert.deepEqual(calls, ['started']);
  });

  it('stop() kills a child that does not react, and always resolves', async (t) => {
    const { supervisor, child, request } = supervised(t);
    request(enroll);
    const stopped = supervisor.stop();
    t.mock.timers.tick(2 * second);
    assert.deepEqual(child().done, ['disconnect', 'kill']);
    t.mock.timers.tick(2 * second);
    await stopped;
  });

  it('stop() waits for a child that was dismissed before', async (t) => {
    const { supervisor, child, request } = supervised(t);
    request(inspect);
    child().reply(inspected);
    t.mock.timers.tick(250);
    const stopped = supervisor.stop().then(() => 'stopped');
    assert.equal(await Promise.race([stopped, nextTurn()]), 'next turn');
    child().listener.onExit('exit code 0');
    assert.equal(await stopped, 'stopped');
  });

  it('starts nothing after stop()', async (t) => {
    const { supervisor, children, request } = supervised(t);
    await supervisor.stop();
    request(enroll);
    assert.deepEqual(children, []);
  });

  it('replaces a child that does not answer for five minutes', (t) => {
    const { calls, child, request } = supervised(t);
    request(inspect);
    for (let beat = 0; beat < 30; beat += 1) {
      child().listener.onMessage({ type: 'alive' });
      t.mock.timers.tick(10 * second);
    }
    assert.deepEqual(child().done, []);
    child().listener.onMessage({ type: 'alive' });
    t.mock.timers.tick(10 * second);
    assert.deepEqual(child().done, ['kill']);
    assert.deepEqual(calls, ['started', 'ENROLLER_HUNG', 'lost']);
  });

  it('keeps a child that waits for an approval for a day', (t) => {
    const { calls, child, request } = supervised(t);
    request(enroll);
    const csr = { name: 'csr-1', uid: 'u', createdAt: 0 };
    child().reply({ type: 'requested', csr });
    for (let beat = 0; beat < 8_640; beat += 1) {
      child().listener.onMessage({ type: 'alive' });
      t.mock.timers.tick(10 * second);
    }
    assert.deepEqual(calls, ['started', 'requested']);
  });
});

async function nextTurn(): Promise<string> {
  return new Promise((resolve) => {
    setImmediate(() => resolve('next turn'));
  });
}
