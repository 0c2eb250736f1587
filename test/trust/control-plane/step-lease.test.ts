import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { minute, second } from '../../../src/core/instant.ts';
import { LeaseClient } from '../../../src/kube/lease-client.ts';
import type { HeldLease, LeaseEnvironment } from '../../../src/pki/unattended/renewal-lease.ts';
import { renewalLease } from '../../../src/pki/unattended/renewal-lease.ts';
import { ServerClock } from '../../../src/pki/unattended/server-clock.ts';
import { waitForLease } from '../../../src/trust/control-plane/step-lease.ts';
import { ApiServer, clientOf } from '../../kube/support/api-server.ts';
import { handlers, LeaseApi } from '../../kube/support/lease-api.ts';
import { passing } from '../../pki/unattended/passing-time.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const key = 'kube-system/nodecertd-pki-renewal';
const start = Date.UTC(2026, 10, 29, 2);

interface Scene extends LeaseEnvironment {
  readonly api: LeaseApi;
  readonly clock: FakeClock;
  /** Why this node waited for the Lease. */
  readonly reasons: string[];
  /** Called before each answer to this node. */
  onRequest: () => void;
  isDown: boolean;
}

async function sceneFor(context: TestContext): Promise<Scene> {
  const [api, clock] = [new LeaseApi(), new FakeClock(start)];
  const serverClock = new ServerClock(clock);
  const server = await ApiServer.start((request, response) => {
    scene.onRequest();
    if (scene.isDown) return void request.socket.destroy();
    response.setHeader('date', new Date(clock.now()).toUTCString());
    handlers(api.handle)(request, response);
  });
  const client = await clientOf(server, { onDate: serverClock.note });
  context.after(async () => {
    await client[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
  const leases = new LeaseClient(client, renewalLease);
  const scene: Scene = {
    api,
    clock,
    serverClock,
    leases,
    reasons: [],
    onRequest: () => undefined,
    isDown: false,
  };
  return scene;
}

/** The Lease, held by another node or released. */
function put({ api, clock }: Scene, holder?: string): void {
  api.put(key, {
    leaseDurationSeconds: 60,
    leaseTransitions: 2,
    renewTime: new Date(clock.now()).toISOString(),
    ...(holder !== undefined && { holderIdentity: holder }),
  });
}

async function wait(
  scene: Scene,
  signal: AbortSignal = new AbortController().signal,
): Promise<HeldLease> {
  const onWait = (reason: string): void => void scene.reasons.push(reason);
  return waitForLease(scene, { nodeName: 'cp1', signal, onWait });
}

describe('waitForLease()', () => {
  it('takes a Lease that was released a moment ago, without a pause', async (context) => {
    const scene = await sceneFor(context);
    put(scene);
    await using _ = await wait(scene);
    assert.match(String(scene.api.leases.get(key)?.spec['holderIdentity']), /^cp1_/);
    assert.deepEqual([scene.clock.now(), scene.reasons], [start, []]);
  });

  it('names the holder once, and takes the Lease when that node releases it', async (context) => {
    const scene = await sceneFor(context);
    put(scene, 'cp2_1');
    let renewals = 4;
    scene.onRequest = () => {
      renewals -= 1;
      if (renewals >= 0) put(scene, renewals > 0 ? 'cp2_1' : undefined);
    };
    await using _ = await passing(scene.clock, wait(scene));
    assert.deepEqual(scene.reasons, [
      'cp2 is changing its files, and holds the Lease kube-system/nodecertd-pki-renewal',
    ]);
  });

  it('takes the Lease of a killed holder after a minute', async (context) => {
    const scene = await sceneFor(context);
    put(scene, 'cp2_1');
    await using _ = await passing(scene.clock, wait(scene));
    const waited = scene.clock.now() - start;
    assert.ok(waited >= minute && waited <= minute + 10 * second, `${waited} ms`);
    assert.equal(scene.reasons.length, 1);
  });

  it('continues while the API server does not answer, for a minute', async (context) => {
    const scene = await sceneFor(context);
    put(scene, 'cp2_1');
    scene.onRequest = () => {
      const passed = scene.clock.now() - start;
      scene.isDown = passed >= 10 * second && passed < 40 * second;
    };
    await using _ = await passing(scene.clock, wait(scene));
    assert.ok(scene.reasons.some((reason) => reason.includes('the connection failed')));
    scene.onRequest = () => void (scene.isDown = true);
    const later = scene.clock.now();
    await assert.rejects(passing(scene.clock, wait(scene)), { code: 'API_UNREACHABLE' });
    assert.ok(scene.clock.now() - later >= minute);
    scene.onRequest = () => void (scene.isDown = false);
  });

  it('ends when it is aborted', async (context) => {
    const scene = await sceneFor(context);
    put(scene, 'cp2_1');
    const stop = new AbortController();
    const waiting = wait(scene, stop.signal);
    stop.abort();
    const message = /interrupted; nothing was changed$/;
    await assert.rejects(passing(scene.clock, waiting), { code: 'ABORTED', message });
    assert.match(String(scene.api.leases.get(key)?.spec['holderIdentity']), /^cp2_/);
  });
});
