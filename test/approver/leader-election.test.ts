import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Term } from '../../src/approver/leader-election.ts';
import { LeaderElection } from '../../src/approver/leader-election.ts';
import type { Failure } from '../../src/core/errors.ts';
import { AgentError, hasCode } from '../../src/core/errors.ts';
import { hour, second } from '../../src/core/instant.ts';
import type { LeaseRecord, StoredLease } from '../../src/kube/lease-client.ts';
import type { Clock } from '../../src/sys/clock.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** The Lease of one cluster, with the rules of the API server. */
class Lease {
  stored: StoredLease | undefined;
  readonly log: string[] = [];
  /** Requests fail while this is set. */
  down = false;
  /** Requests get no response while this is set. */
  hanging = false;
  #version = 0;

  async get(signal: AbortSignal): Promise<StoredLease | undefined> {
    await this.#request('get', signal);
    return this.stored;
  }

  async create(record: LeaseRecord, signal: AbortSignal): Promise<StoredLease> {
    await this.#request('create', signal);
    if (this.stored !== undefined) throw new AgentError('API_CONFLICT', 'exists');
    return this.#store(record);
  }

  async update(lease: StoredLease, signal: AbortSignal): Promise<StoredLease> {
    await this.#request('update', signal);
    if (lease.resourceVersion !== this.stored?.resourceVersion) {
      throw new AgentError('API_CONFLICT', 'modified');
    }
    return this.#store(lease);
  }

  #store(record: LeaseRecord): StoredLease {
    this.#version += 1;
    this.stored = { ...record, metadata: {}, resourceVersion: String(this.#version) };
    return this.stored;
  }

  async #request(verb: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.log.push(verb);
    if (this.down) throw new AgentError('API_UNREACHABLE', 'refused');
    if (!this.hanging) return;
    await new Promise((_, reject) => {
      signal.addEventListener('abort', () => {
        reject(new AgentError('ABORTED', 'canceled'));
      });
    });
  }
}

/** A replica, and what its term says at any time. */
class Replica implements AsyncDisposable {
  readonly failures: Failure[] = [];
  recoveries = 0;
  readonly holders: (string | undefined)[] = [];
  terms = 0;
  term: Term | undefined;
  readonly #stop = new AbortController();
  readonly #run: Promise<void>;
  endWork: (error?: Error) => void = () => {};

  constructor(identity: string, lease: Lease, clock: Clock) {
    const election = new LeaderElection({
      identity,
      leases: lease,
      clock,
      random: () => 0.5,
      lead: async (term, signal) => {
        this.terms += 1;
        this.term = term;
        await new Promise<void>((resolve, reject) => {
          this.endWork = (error) => {
            if (error === undefined) resolve();
            else reject(error);
          };
          signal.addEventListener('abort', () => {
            resolve();
          });
        });
        this.term = undefined;
      },
      onHolder: (holder) => this.holders.push(holder),
      onRetry: (failure) => this.failures.push(failure),
      onRecovered: () => {
        this.recoveries += 1;
      },
    });
    this.#run = election.run(this.#stop.signal);
    this.#run.catch(() => undefined);
  }

  get leads(): boolean {
    return this.term?.isLeading() === true;
  }

  async ended(): Promise<void> {
    await this.#run;
  }

  /** As with SIGTERM. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#run.catch((error: unknown) => {
      if (!hasCode(error, 'ABORTED')) throw error;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** A clock that a test can stop, as SIGSTOP stops a process: timers stop, the monotonic time goes on. */
class StoppableClock implements Clock {
  readonly #clock: FakeClock;
  readonly #offset: number;
  #stopped: PromiseWithResolvers<void> | undefined;

  constructor(clock: FakeClock, offset = 0) {
    this.#clock = clock;
    this.#offset = offset;
  }

  now(): number {
    return this.#clock.now() + this.#offset;
  }

  elapsed(): number {
    // Machines count from different moments.
    return this.#clock.elapsed() + Math.abs(this.#offset) / 7;
  }

  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    await this.#clock.sleep(ms, signal);
    await this.#stopped?.promise;
  }

  stop(): void {
    this.#stopped = Promise.withResolvers();
  }

  continue(): void {
    this.#stopped?.resolve();
    this.#stopped = undefined;
  }
}

describe('LeaderElection', () => {
  it('creates the Lease, and renews it every 2 s with one update', async () => {
    const [lease, clock] = [new Lease(), new FakeClock()];
    await using replica = new Replica('a', lease, clock);
    await clock.advance(0);
    assert.ok(replica.leads);
    assert.deepEqual(lease.stored, {
      holder: 'a',
      durationSeconds: 15,
      acquireTime: clock.now(),
      renewTime: clock.now(),
      transitions: 0,
      metadata: {},
      resourceVersion: '1',
    });
    await clock.advance(6 * second);
    assert.deepEqual(lease.log, ['get', 'create', 'update', 'update', 'update']);
    assert.equal(lease.stored.renewTime, clock.now());
    assert.equal(lease.stored.acquireTime, clock.now() - 6 * second);
  });

  it('lets exactly one of two replicas lead', async () => {
    const [lease, clock] = [new Lease(), new FakeClock()];
    await using first = new Replica('a', lease, clock);
    await using other = new Replica('b', lease, clock);
    for (let time = 0; time < 60; time += 1) {
      await clock.advance(second);
      assert.equal(Number(first.leads) + Number(other.leads), 1);
    }
    assert.deepEqual([first.holders, other.holders], [['a'], ['a']]);
  });

  it('takes over 15 s after the last change of the Lease that it saw', async () => {
    const [lease, clock] = [new Lease(), new FakeClock()];
    const killed = new StoppableClock(clock);
    await using first = new Replica('a', lease, killed);
    await clock.advance(0);
    await using other = new Replica('b', lease, clock);
    await clock.advance(10 * second);
    killed.stop();
    const renewed = lease.stored?.renewTime ?? 0;
    while (!other.leads) await clock.advance(second / 10);
    const waited = clock.now() - renewed;
    assert.ok(waited >= 15 * second && waited <= 24 * second, `${waited} ms`);
    assert.deepEqual([lease.stored?.holder, lease.stored?.transitions], ['b', 1]);
    killed.continue();
    await clock.advance(0);
    assert.ok(!first.leads);
  });

  it('stops leading 10 s after the last renewal was sent', async () => {
    const [lease, clock] = [new Lease(), new FakeClock()];
    await using replica = new Replica('a', lease, clock);
    await clock.advance(4 * second);
    lease.down = true;
    await clock.advance(10 * second - 1);
    assert.ok(replica.leads);
    await clock.advance(1);
    assert.ok(!replica.leads);
    assert.equal(replica.term, undefined);
    assert.ok(replica.failures.length > 0);
    lease.down = false;
    await clock.advance(5 * second);
    assert.ok(replica.leads);
    assert.deepEqual([replica.terms, replica.recoveries], [2, 1]);
  });

  it('stops leading while the API server does not answer', async () => {
    const [lease, clock] = [new Lease(), new FakeClock()];
    await using replica = new Replica('a', lease, clock);
    await clock.advance(0);
    lease.hanging = true;
    await clock.advance(10 * second);
    assert.ok(!replica.leads);
    assert.equal(replica.failures[0]?.code, 'API_TIMEOUT');
    lease.hanging = false;
  });

  it('knows after SIGSTOP for 20 s that it no longer leads', async () => {
    const [lease, clock] = [new Lease(), new FakeClock()];
    const stopped = new StoppableClock(clock);
    await using first = new Replica('a', lease, stopped);
    await clock.advance(0);
    const { term } = first;
    await using other = new Replica('b', lease, clock);
    await clock.advance(second);
    stopped.stop();
    await clock.advance(20 * second);
    assert.ok(other.leads);
    // The replica runs again here, and none of its timers has fired yet.
    assert.equal(term?.isLeading(), false);
    stopped.continue();
    await clock.advance(10 * second);
    assert.deepEqual([first.leads, other.leads, first.term], [false, true, undefined]);
  });

  for (const offset of [-hour, hour]) {
    it(`elects one leader with a clock that is off by ${offset / hour} h`, async () => {
      const [lease, clock] = [new Lease(), new FakeClock()];
      const killed = new StoppableClock(clock, offset);
      await using first = new Replica('a', lease, killed);
      await clock.advance(0);
      await using other = new Replica('b', lease, clock);
      for (let time = 0; time < 60; time += 1) {
        await clock.advance(second);
        assert.deepEqual([first.leads, other.leads], [true, false]);
      }
      killed.stop();
      let waited = 0;
      for (; !other.leads; waited += second) {
        await clock.advance(second);
        assert.ok(waited < 10 * second || !first.leads);
      }
      assert.ok(waited >= 13 * second && waited <= 24 * second, `${waited} ms`);
      killed.continue();
      await clock.advance(0);
    });
  }

  it('releases the Lease when it stops, and the other replica leads at its next try', async () => {
    const [lease, clock] = [new Lease(), new FakeClock()];
    const first = new Replica('a', lease, clock);
    await clock.advance(0);
    await using other = new Replica('b', lease, clock);
    await clock.advance(second);
    await first.stop();
    const { holder, durationSeconds, transitions } = lease.stored ?? {};
    assert.deepEqual([holder, durationSeconds, transitions], [undefined, 1, 0]);
    await clock.advance(4.4 * second);
    assert.ok(other.leads);
    assert.equal(lease.stored?.transitions, 1);
  });

  it('releases a Lease whose last renewal it does not know', async () => {
    const [lease, clock] = [new Lease(), new FakeClock()];
    const replica = new Replica('a', lease, clock);
    await clock.advance(0);
    assert.ok(lease.stored);
    lease.stored = { ...lease.stored, resourceVersion: '7', transitions: 3 };
    await replica.stop();
    assert.deepEqual([lease.stored.holder, lease.stored.transitions], [undefined, 3]);
  });

  it('leaves the Lease of another holder alone when it stops', async () => {
    const [lease, clock] = [new Lease(), new FakeClock()];
    const replica = new Replica('a', lease, clock);
    await clock.advance(0);
    assert.ok(lease.stored);
    lease.stored = { ...lease.stored, holder: 'b', resourceVersion: '7' };
    await replica.stop();
    assert.equal(lease.stored.holder, 'b');
  });

  it('stops within a second while the API server does not answer', async () => {
    const [lease, clock] = [new Lease(), new FakeClock()];
    const replica = new Replica('a', lease, clock);
    await clock.advance(0);
    lease.hanging = true;
    const stopped = replica.stop();
    await clock.advance(second);
    await stopped;
  });

  it('reads the Lease after a renewal that failed, and goes on leading', async () => {
    const [lease, clock] = [new Lease(), new FakeClock()];
    await using replica = new Replica('a', lease, clock);
    await clock.advance(0);
    assert.ok(lease.stored);
    lease.stored = { ...lease.stored, resourceVersion: '7' };
    await clock.advance(2 * second);
    assert.deepEqual(lease.log.slice(2), ['update', 'get', 'update']);
    assert.ok(replica.leads);
    assert.equal(lease.stored.transitions, 0);
  });

  it('ends with the error of the work, and releases the Lease', async () => {
    const [lease, clock] = [new Lease(), new FakeClock()];
    const replica = new Replica('a', lease, clock);
    await clock.advance(0);
    replica.endWork(new Error('broken'));
    await assert.rejects(replica.ended(), /broken/);
    assert.equal(lease.stored?.holder, undefined);
  });
});
