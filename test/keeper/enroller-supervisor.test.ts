import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import type { ChildListener, EnrollerChild, EnrollerLoss } from '../../src/keeper/enroller-link.ts';
import { EnrollerSupervisor } from '../../src/keeper/enroller-supervisor.ts';
import type { EnrollerCommand, EnrollerReport } from '../../src/core/enroller-protocol.ts';
import { clientTemplate } from '../core/fixtures.ts';
import { RecordingLogger } from './fixtures.ts';

/** A child that does nothing by itself, so that a test says when it reports and ends. */
class FakeChild implements EnrollerChild {
  readonly pid: number;
  readonly listener: ChildListener;
  readonly received: EnrollerCommand['type'][] = [];
  readonly done: string[] = [];

  constructor(pid: number, listener: ChildListener) {
    this.pid = pid;
    this.listener = listener;
  }

  send({ type }: EnrollerCommand): void {
    this.received.push(type);
  }

  disconnect(): void {
    this.done.push('disconnect');
  }

  kill(): void {
    this.done.push('kill');
  }
}

const second = 1_000;
const inspect: EnrollerCommand = { type: 'inspect', name: 'a' };
const inspected: EnrollerReport = { type: 'inspected', name: 'a', findings: [] };
const enroll: EnrollerCommand = { type: 'enroll', name: 'a', attempt: 1, template: clientTemplate };
const failure = { code: 'API_UNREACHABLE', message: 'away' } as const;

/** A supervisor on mock timers, with all that it did. */
function supervised(t: TestContext): {
  readonly supervisor: EnrollerSupervisor;
  readonly children: FakeChild[];
  readonly heard: string[];
  readonly logger: RecordingLogger;
  readonly child: () => FakeChild;
} {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  const children: FakeChild[] = [];
  const heard: string[] = [];
  const logger = new RecordingLogger();
  const supervisor = new EnrollerSupervisor({
    logger,
    launch: (listener) => {
      const child = new FakeChild(100 + children.length, listener);
      children.push(child);
      return child;
    },
    listener: {
      onStarted: () => heard.push('started'),
      onFinished: () => heard.push('finished'),
      onReport: ({ type }) => heard.push(type),
      onLost: (loss: EnrollerLoss) => heard.push(loss.code),
    },
  });
  const child = (): FakeChild => {
    const last = children.at(-1);
    assert.ok(last !== undefined, 'no enroller was started');
    return last;
  };
  return { supervisor, children, heard, logger, child };
}

describe('EnrollerSupervisor', () => {
  it('starts an enroller with the first command and one only', (t) => {
    const { supervisor, children, child, logger } = supervised(t);
    assert.equal(supervisor.pid, undefined);
    supervisor.send(inspect);
    supervisor.send(enroll);
    assert.equal(children.length, 1);
    assert.equal(supervisor.pid, 100);
    assert.deepEqual(child().received, ['inspect', 'enroll']);
    assert.deepEqual(logger.lines, [{ event: 'enroller_started', pid: 100 }]);
  });

  it('starts none to abandon what no process can hold', (t) => {
    const { supervisor, children } = supervised(t);
    supervisor.send({ type: 'abandon', name: 'a' });
    assert.deepEqual(children, []);
  });

  it('lets the enroller idle a moment, in which the next command finds it', (t) => {
    const { supervisor, children, child, heard } = supervised(t);
    supervisor.send(inspect);
    child().listener.onMessage(inspected);
    t.mock.timers.tick(249);
    supervisor.send(enroll);
    t.mock.timers.tick(10 * second);
    assert.deepEqual(children.length, 1);
    assert.deepEqual(child().done, []);
    assert.deepEqual(heard, ['started', 'inspected']);
  });

  const endings: readonly (readonly [string, EnrollerCommand, EnrollerReport, boolean])[] = [
    ['an inspection that was answered', inspect, inspected, true],
    ['an inspection that failed', inspect, { type: 'inspection-failed', name: 'a', failure }, true],
    ['a self-signed pair', { type: 'self-sign', name: 'a' }, inspected, true],
    [
      'a failure for good',
      enroll,
      { type: 'failed', name: 'a', attempt: 1, failure, resumable: false },
      true,
    ],
    [
      'a failure with a key still held',
      enroll,
      { type: 'failed', name: 'a', attempt: 1, failure, resumable: true },
      false,
    ],
    ['a disturbed wait', enroll, { type: 'trouble', name: 'a', attempt: 1, failure }, false],
    [
      'the addresses',
      { type: 'look-up-addresses', follow: false },
      { type: 'addresses', addresses: [], final: true },
      true,
    ],
    [
      'addresses that more will follow',
      { type: 'look-up-addresses', follow: true },
      { type: 'addresses', addresses: [], final: false },
      false,
    ],
    [
      'a failed look-up',
      { type: 'look-up-addresses', follow: true },
      { type: 'addresses-failed', failure },
      true,
    ],
  ];
  for (const [what, command, report, released] of endings) {
    it(`${released ? 'lets the enroller go' : 'keeps the enroller'} after ${what}`, (t) => {
      const { supervisor, child } = supervised(t);
      supervisor.send(command);
      child().listener.onMessage(report);
      t.mock.timers.tick(second);
      assert.deepEqual(child().done, released ? ['disconnect'] : []);
      assert.equal(supervisor.pid, released ? undefined : 100);
    });
  }

  it('lets the enroller go once a held key was abandoned', (t) => {
    const { supervisor, child, heard } = supervised(t);
    supervisor.send(enroll);
    supervisor.send({ type: 'abandon', name: 'a' });
    t.mock.timers.tick(second);
    assert.deepEqual(child().done, ['disconnect']);
    assert.deepEqual(heard, ['started', 'finished']);
  });

  it('waits for as many inspections as it asked for', (t) => {
    const { supervisor, child } = supervised(t);
    supervisor.send(inspect);
    supervisor.send(inspect);
    child().listener.onMessage(inspected);
    t.mock.timers.tick(second);
    assert.deepEqual(child().done, []);
    child().listener.onMessage(inspected);
    t.mock.timers.tick(second);
    assert.deepEqual(child().done, ['disconnect']);
  });

  it('kills an enroller that was let go and does not end', (t) => {
    const { supervisor, child } = supervised(t);
    supervisor.send(inspect);
    child().listener.onMessage(inspected);
    t.mock.timers.tick(250);
    assert.deepEqual(child().done, ['disconnect']);
    t.mock.timers.tick(2 * second);
    assert.deepEqual(child().done, ['disconnect', 'kill']);
  });

  it('does not kill one that ended as it should', (t) => {
    const { supervisor, child, logger } = supervised(t);
    supervisor.send(inspect);
    child().listener.onMessage(inspected);
    t.mock.timers.tick(250);
    child().listener.onExit('exit code 0');
    t.mock.timers.tick(10 * second);
    assert.deepEqual(child().done, ['disconnect']);
    assert.deepEqual(logger.take(), ['enroller_started', 'enroller_stopped']);
  });

  it('reports the loss of an enroller with work in hand, and starts another for the next command', (t) => {
    const { supervisor, children, child, heard } = supervised(t);
    supervisor.send(enroll);
    child().listener.onExit('signal SIGKILL');
    t.mock.timers.tick(60 * second);
    assert.deepEqual(heard, ['started', 'ENROLLER_LOST']);
    supervisor.send(enroll);
    assert.equal(children.length, 2);
    assert.equal(supervisor.pid, 101);
  });

  it('passes on what a crashing enroller said last', (t) => {
    const { supervisor, child, heard } = supervised(t);
    supervisor.send(enroll);
    child().listener.onMessage({ type: 'crashed', error: 'x is not a function' });
    child().listener.onExit('exit code 1');
    assert.deepEqual(heard, ['started', 'INTERNAL']);
    supervisor.send(enroll);
    child().listener.onExit('exit code 1');
    assert.deepEqual(heard, ['started', 'INTERNAL', 'started', 'ENROLLER_LOST']);
  });

  it('kills an enroller after three looks without a sign of life, and reports it once', (t) => {
    const { supervisor, child, heard } = supervised(t);
    supervisor.send(enroll);
    t.mock.timers.tick(29 * second);
    assert.deepEqual(child().done, []);
    t.mock.timers.tick(second);
    assert.deepEqual(child().done, ['kill']);
    assert.deepEqual(heard, ['started', 'ENROLLER_HUNG']);
    child().listener.onExit('signal SIGKILL');
    t.mock.timers.tick(60 * second);
    assert.deepEqual(heard, ['started', 'ENROLLER_HUNG']);
  });

  it('takes every message for a sign of life', (t) => {
    const { supervisor, child, heard } = supervised(t);
    supervisor.send(enroll);
    for (let round = 0; round < 5; round += 1) {
      t.mock.timers.tick(20 * second);
      child().listener.onMessage({ type: 'alive' });
    }
    assert.deepEqual(child().done, []);
    assert.deepEqual(heard, ['started']);
  });

  it('hears nothing of a child that is no longer the current one', (t) => {
    const { supervisor, children, heard } = supervised(t);
    supervisor.send(enroll);
    children[0]?.listener.onExit('exit code 1');
    supervisor.send(enroll);
    heard.length = 0;
    children[0]?.listener.onMessage(inspected);
    children[0]?.listener.onExit('again');
    assert.deepEqual(heard, []);
    assert.equal(supervisor.pid, 101);
  });

  it('stop() settles when the process is gone, and takes that for no loss', async (t) => {
    const { supervisor, child, heard } = supervised(t);
    supervisor.send(enroll);
    const stopped = supervisor.stop();
    assert.deepEqual(child().done, ['disconnect']);
    child().listener.onExit('exit code 0');
    await stopped;
    assert.deepEqual(heard, ['started']);
  });

  it('stop() kills a child that does not react, and settles even if that does not help', async (t) => {
    const { supervisor, child } = supervised(t);
    supervisor.send(enroll);
    const stopped = supervisor.stop();
    t.mock.timers.tick(2 * second);
    assert.deepEqual(child().done, ['disconnect', 'kill']);
    t.mock.timers.tick(2 * second);
    await stopped;
  });

  it('stop() waits for a child that was let go before', async (t) => {
    const { supervisor, child } = supervised(t);
    supervisor.send(inspect);
    child().listener.onMessage(inspected);
    t.mock.timers.tick(250);
    const stopped = supervisor.stop().then(() => 'stopped');
    assert.equal(await Promise.race([stopped, nextTurn()]), 'next turn');
    child().listener.onExit('exit code 0');
    assert.equal(await stopped, 'stopped');
  });

  it('starts nothing after stop()', async (t) => {
    const { supervisor, children } = supervised(t);
    await supervisor.stop();
    supervisor.send(enroll);
    assert.deepEqual(children, []);
  });

  it('replaces a child that lives and does not answer, after five minutes', (t) => {
    const { supervisor, heard, child } = supervised(t);
    supervisor.send(inspect);
    for (let beat = 0; beat < 30; beat += 1) {
      child().listener.onMessage({ type: 'alive' });
      t.mock.timers.tick(10 * second);
    }
    assert.deepEqual(child().done, []);
    child().listener.onMessage({ type: 'alive' });
    t.mock.timers.tick(10 * second);
    assert.deepEqual(child().done, ['kill']);
    assert.deepEqual(heard, ['started', 'ENROLLER_HUNG']);
  });

  it('leaves a child alone that waits for an approver for a day', (t) => {
    const { supervisor, heard, child } = supervised(t);
    supervisor.send(enroll);
    const csr = { name: 'csr-1', uid: 'u', createdAt: 0 };
    child().listener.onMessage({ type: 'requested', name: 'a', attempt: 1, csr });
    for (let beat = 0; beat < 8_640; beat += 1) {
      child().listener.onMessage({ type: 'alive' });
      t.mock.timers.tick(10 * second);
    }
    assert.deepEqual(heard, ['started', 'requested']);
  });
});

async function nextTurn(): Promise<string> {
  return new Promise((resolve) => {
    setImmediate(() => resolve('next turn'));
  });
}
