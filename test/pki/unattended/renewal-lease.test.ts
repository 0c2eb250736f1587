import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { day, hour, minute, second } from '../../../src/core/instant.ts';
import { LeaseClient } from '../../../src/kube/lease-client.ts';
import type {
  FreeLease,
  HeldLease,
  LeaseEnvironment,
  PausedLease,
  Waiting,
} from '../../../src/pki/unattended/renewal-lease.ts';
import {
  inspectLease,
  renewalLease,
  takeLease,
} from '../../../src/pki/unattended/renewal-lease.ts';
import { ServerClock } from '../../../src/pki/unattended/server-clock.ts';
import { ApiServer, clientOf, sendStatus } from '../../kube/support/api-server.ts';
import { handlers, LeaseApi } from '../../kube/support/lease-api.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { passing } from './passing-time.ts';

const { signal } = new AbortController();
const key = 'kube-system/nodecertd-pki-renewal';
const start = Date.UTC(2026, 10, 29, 2);

class Scene implements AsyncDisposable {
  readonly api = new LeaseApi();
  /** The clock of this machine. */
  readonly clock = new FakeClock(start);
  /** Milliseconds by which the API server is ahead of this machine. */
  serverAhead = 0;
  readonly #resources = new AsyncDisposableStack();

  static async start(): Promise<Scene & LeaseEnvironment> {
    const scene = new Scene();
    const serverClock = new ServerClock(scene.clock);
    const server = scene.#resources.use(
      await ApiServer.start((request, response) => {
        response.setHeader('date', new Date(scene.serverNow).toUTCString());
        handlers(scene.api.handle)(request, response);
      }),
    );
    const client = scene.#resources.use(await clientOf(server, { onDate: serverClock.note }));
    const leases = new LeaseClient(client, renewalLease);
    return Object.assign(scene, { leases, serverClock });
  }

  get serverNow(): number {
    return this.clock.now() + this.serverAhead;
  }

  put(spec: Readonly<Record<string, unknown>>): void {
    this.api.put(key, { leaseDurationSeconds: 60, leaseTransitions: 2, ...spec });
  }

  get spec(): Readonly<Record<string, unknown>> {
    return this.api.leases.get(key)?.spec ?? {};
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}

function timeOf(instant: number): string {
  return new Date(instant).toISOString();
}

async function inspect(
  scene: Scene & LeaseEnvironment,
): Promise<FreeLease | PausedLease | Waiting> {
  return passing(scene.clock, inspectLease(scene, signal));
}

async function take(scene: Scene & LeaseEnvironment, nodeName = 'cp1'): Promise<HeldLease> {
  const free = await inspect(scene);
  assert.ok(free.kind === 'free', JSON.stringify(free));
  const held = await takeLease(scene, free, { nodeName, signal });
  assert.ok(held.kind === 'held');
  return held;
}

/** Until the loop of the holder sleeps again, so that its writes are over. */
async function pass(clock: FakeClock, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += second) {
    while (clock.sleeping === 0) await setImmediate();
    await clock.advance(second);
  }
  while (clock.sleeping === 0) await setImmediate();
}

function isHeld(lease: HeldLease): boolean {
  try {
    lease.requireHeld();
    return true;
  } catch {
    return false;
  }
}

describe('inspectLease()', () => {
  it('is free without a Lease', async () => {
    await using scene = await Scene.start();
    assert.deepEqual(await inspect(scene), { kind: 'free', stored: undefined });
  });

  const released: readonly (readonly [string, number, number | undefined])[] = [
    ['3 minutes ago', -3 * minute, 7 * minute],
    ['10 minutes ago', -10 * minute, undefined],
    ['a year ago', -365 * day, undefined],
    ['in half a minute', 30 * second, 10.5 * minute],
  ];
  for (const [when, offset, retryAfterMs] of released) {
    it(`of a Lease released ${when} depends on the clock of the API server`, async () => {
      await using scene = await Scene.start();
      scene.serverAhead = -1825 * day;
      scene.put({ renewTime: timeOf(scene.serverNow + offset) });
      const found = await inspect(scene);
      assert.equal(found.kind === 'paused' ? found.retryAfterMs : undefined, retryAfterMs);
    });
  }

  it('corrects a release in the future, which would block all nodes', async () => {
    await using scene = await Scene.start();
    scene.put({ renewTime: timeOf(start + 365 * day) });
    const found = await inspect(scene);
    assert.equal(found.kind === 'waiting' && found.retryAfterMs, minute);
    assert.equal(Date.parse(String(scene.spec['renewTime'])), start);
  });

  it('waits if another node corrects such a release first', async () => {
    await using scene = await Scene.start();
    scene.put({ renewTime: timeOf(start + 365 * day) });
    scene.api.onWrite = (response) => {
      sendStatus(response, 409, { reason: 'Conflict' });
      return true;
    };
    assert.equal((await inspect(scene)).kind, 'waiting');
  });

  for (const offset of [-hour, hour]) {
    it(`waits for a holder that renews, even with times ${offset / hour} h off`, async () => {
      await using scene = await Scene.start();
      const renewed = (): void => {
        scene.put({ holderIdentity: 'cp2_a', renewTime: timeOf(scene.serverNow + offset) });
      };
      renewed();
      const inspection = inspect(scene);
      while (scene.clock.sleeping === 0) await setImmediate();
      renewed();
      const found = await inspection;
      assert.ok(found.kind === 'waiting');
      assert.match(found.reason, /^cp2 is changing its files, and holds the Lease kube-system\//);
      assert.equal(scene.clock.now() - start, 5 * second);
    });

    it(`is free after 60 s without a renewal, even with times ${offset / hour} h off`, async () => {
      await using scene = await Scene.start();
      scene.put({ holderIdentity: 'cp2_a', renewTime: timeOf(start + offset) });
      assert.equal((await inspect(scene)).kind, 'free');
      assert.equal(scene.clock.now() - start, minute);
    });
  }

  it('names a holder before it is known whether that holder still works', async () => {
    await using scene = await Scene.start();
    scene.put({ holderIdentity: 'cp2_a' });
    const held: string[] = [];
    const onHeld = (reason: string): void =>
      void held.push(`${scene.clock.now() - start} ${reason}`);
    await passing(scene.clock, inspectLease(Object.assign(scene, { onHeld }), signal));
    const reason =
      'cp2 is changing its files, and holds the Lease kube-system/nodecertd-pki-renewal';
    assert.deepEqual(held, [`0 ${reason}`]);
  });

  it('does not wait longer than 10 minutes, whatever duration the Lease has', async () => {
    await using scene = await Scene.start();
    scene.put({ holderIdentity: 'cp2_a', leaseDurationSeconds: 1_000_000 });
    assert.equal((await inspect(scene)).kind, 'free');
    assert.equal(scene.clock.now() - start, 10 * minute);
  });
});

describe('takeLease()', () => {
  it('gives the Lease to one of two nodes', async () => {
    await using scene = await Scene.start();
    const free = await inspect(scene);
    assert.ok(free.kind === 'free');
    const names = ['cp1', 'cp2'];
    const taken = await Promise.all(
      names.map((nodeName) => takeLease(scene, free, { nodeName, signal })),
    );
    assert.deepEqual(taken.map(({ kind }) => kind).toSorted(), ['held', 'waiting']);
    for (const one of taken) if (one.kind === 'held') await one[Symbol.asyncDispose]();
  });

  it('does not take a Lease that was used since the inspection', async () => {
    await using scene = await Scene.start();
    scene.put({ renewTime: timeOf(start - hour) });
    const free = await inspect(scene);
    assert.ok(free.kind === 'free');
    scene.put({ renewTime: timeOf(start) });
    assert.equal((await takeLease(scene, free, { nodeName: 'cp1', signal })).kind, 'waiting');
  });
});

describe('HeldLease', () => {
  it('is renewed every 10 s, and released in the time of the API server', async () => {
    await using scene = await Scene.start();
    scene.serverAhead = 10 * second;
    const held = await take(scene);
    assert.match(String(scene.spec['holderIdentity']), /^cp1_[0-9a-f-]{36}$/);
    await pass(scene.clock, 25 * second);
    held.requireHeld();
    await held[Symbol.asyncDispose]();
    assert.deepEqual(
      scene.api.history.map(({ spec }) => Date.parse(String(spec['renewTime'])) - start),
      [10, 20, 30, 35].map((seconds) => seconds * second),
    );
    assert.ok(!('holderIdentity' in scene.spec));
  });

  it('is lost after 45 s without a renewal', async () => {
    await using scene = await Scene.start();
    const held = await take(scene);
    scene.api.onWrite = (response) => {
      sendStatus(response, 503, { reason: 'ServiceUnavailable' });
      return true;
    };
    await pass(scene.clock, 44 * second);
    held.requireHeld();
    await pass(scene.clock, second);
    assert.throws(() => held.requireHeld(), {
      code: 'LEASE_LOST',
      message: /no renewal for 45s: update \S+: HTTP status 503/,
    });
    await held[Symbol.asyncDispose]();
  });

  it('ensureHeld() renews it after failed renewals, while no other holder has it', async () => {
    await using scene = await Scene.start();
    const held = await take(scene);
    let isDown = true;
    scene.api.onWrite = (response) => {
      if (isDown) sendStatus(response, 503, { reason: 'ServiceUnavailable' });
      return isDown;
    };
    await pass(scene.clock, 50 * second);
    await assert.rejects(held.ensureHeld(), { code: 'LEASE_LOST' });
    isDown = false;
    await held.ensureHeld();
    held.requireHeld();
    await held[Symbol.asyncDispose]();
  });

  it('ensureHeld() does not take it back from another holder', async () => {
    await using scene = await Scene.start();
    const held = await take(scene);
    scene.api.onWrite = (response) => {
      sendStatus(response, 503, { reason: 'ServiceUnavailable' });
      return true;
    };
    await pass(scene.clock, 50 * second);
    scene.api.onWrite = () => false;
    scene.put({ holderIdentity: 'cp2_b' });
    await assert.rejects(held.ensureHeld(), { code: 'LEASE_LOST', message: /cp2 holds it$/ });
    await held[Symbol.asyncDispose]();
    assert.equal(scene.spec['holderIdentity'], 'cp2_b');
  });

  it('is lost to another holder, and is not released then', async () => {
    await using scene = await Scene.start();
    const held = await take(scene);
    scene.put({ holderIdentity: 'cp2_b' });
    await scene.clock.advance(10 * second);
    while (isHeld(held)) await setImmediate();
    assert.throws(() => held.requireHeld(), { code: 'LEASE_LOST', message: /cp2 holds it$/ });
    await held[Symbol.asyncDispose]();
    assert.equal(scene.spec['holderIdentity'], 'cp2_b');
  });

  it('survives a renewal whose response was lost', async () => {
    await using scene = await Scene.start();
    const held = await take(scene);
    scene.api.onWrite = (response, { spec }) => {
      scene.api.put(key, spec);
      scene.api.onWrite = () => false;
      response.destroy();
      return true;
    };
    await pass(scene.clock, 60 * second);
    held.requireHeld();
    await held[Symbol.asyncDispose]();
    assert.ok(!('holderIdentity' in scene.spec));
  });
});
