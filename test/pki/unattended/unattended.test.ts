import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { day, formatInstant, hour, minute } from '../../../src/core/instant.ts';
import { parseMaintenanceWindow } from '../../../src/core/maintenance-window.ts';
import { kubeadmCertificates } from '../../../src/pki/layout.ts';
import { lock } from '../../../src/pki/renewal/renewal.ts';
import { snapshot } from '../../adopt/snapshot.ts';
import { interruptStep, makeKubeadmTree, sharedTree } from '../renewal/renewal-tree.ts';
import { leaseKey, Scene } from './scene.ts';

const model = sharedTree();

/** In the time zone of the scene, an hour ahead of UTC. */
function timeOfDay(instant: number): string {
  return new Date(instant + hour).toISOString().slice(11, 16);
}

describe('renewUnattended()', () => {
  it('does nothing while nothing is due, and asks no API server', async (context) => {
    const scene = await Scene.start(context, model);
    scene.clock.jump(-300 * day);
    const before = await snapshot(scene.tree.kubernetes);
    const found = await scene.run();
    assert.deepEqual([found.outcome, found.renewed, found.problems], ['not-due', [], []]);
    const next = Date.parse(found.nextDue?.time ?? '');
    assert.ok(next > scene.clock.now() + 200 * day && next < scene.clock.now() + 330 * day);
    assert.equal(found.retryAfterSeconds, undefined);
    assert.deepEqual(scene.server.requests, []);
    assert.deepEqual(await snapshot(scene.tree.kubernetes), before);
  });

  it('renews everything that is due with the Lease, and remembers the success', async (context) => {
    const scene = await Scene.start(context, model);
    const found = await scene.run();
    assert.deepEqual(
      [found.outcome, found.problems, found.withoutLease],
      ['renewed', [], undefined],
    );
    assert.equal(found.renewed.length, kubeadmCertificates.length);
    assert.equal(found.lastSuccess, formatInstant(scene.clock.now()));
    const holders = scene.api.history.map(({ spec }) => spec['holderIdentity']);
    assert.match(String(holders[0]), /^cp1_/);
    assert.equal(holders.at(-1), undefined);
    const memory = join(scene.tree.kubernetes, '.nodecertd/unattended.json');
    assert.equal((await stat(memory)).mode & 0o777, 0o600);
    const again = await scene.run();
    assert.deepEqual([again.outcome, again.lastSuccess], ['not-due', found.lastSuccess]);
  });

  for (const state of ['applied', 'applying'] as const) {
    it(`reports what a killed call renewed, with a manifest in state ${state}`, async (context) => {
      const scene = await Scene.start(context, model);
      const killed = await scene.runAndKill(state);
      scene.clock.jump(hour);
      const found = await scene.run();
      assert.equal(found.outcome, state === 'applied' ? 'not-due' : 'renewed');
      assert.deepEqual(found.renewed, killed.renewed);
      assert.deepEqual(found.lastRenewals, killed.renewed);
      assert.equal(found.lastSuccess, formatInstant(scene.clock.now()));
      const { renewed, lastRenewals } = await scene.run();
      assert.deepEqual([renewed, lastRenewals], [[], killed.renewed]);
    });
  }

  it('waits until ten minutes after the last holder finished', async (context) => {
    const scene = await Scene.start(context, model);
    scene.releasedAgo(4 * minute);
    const before = await snapshot(scene.tree.kubernetes);
    const found = await scene.run();
    assert.equal(found.outcome, 'waiting');
    assert.ok(Math.abs((found.retryAfterSeconds ?? 0) - 360) <= 1);
    assert.deepEqual(await snapshot(scene.tree.kubernetes), before);
  });

  it('does not wait these ten minutes with less than 5% of a lifetime left', async (context) => {
    const scene = await Scene.start(context, model);
    // 5% of 365 days are 18 days and 6 hours.
    scene.clock.jump(35 * day - 18.25 * day - 3 * minute);
    scene.releasedAgo(4 * minute);
    const early = await scene.run();
    assert.equal(early.outcome, 'waiting');
    const wait = early.retryAfterSeconds ?? 0;
    assert.ok(wait > 0 && wait < 240, `waits for ${wait} s`);
    scene.clock.jump(wait * 1000 + minute);
    const found = await scene.run();
    assert.deepEqual([found.outcome, found.withoutLease], ['renewed', undefined]);
  });

  it('with a maintenance window waits for its opening', async (context) => {
    const scene = await Scene.start(context, model);
    const opening = Math.floor(scene.clock.now() / hour) * hour + hour;
    const parsed = parseMaintenanceWindow(`${timeOfDay(opening)}-${timeOfDay(opening + hour)}`);
    assert.ok('window' in parsed);
    const early = await scene.run(parsed);
    assert.deepEqual([early.outcome, early.nextDue?.time], ['not-due', formatInstant(opening)]);
    assert.equal(early.retryAfterSeconds, Math.ceil((opening - scene.clock.now()) / 1000));
    scene.clock.jump(opening - scene.clock.now());
    assert.equal((await scene.run(parsed)).outcome, 'renewed');
  });

  it('reports what it cannot renew, and renews the rest', async (context) => {
    const scene = await Scene.start(context, model);
    await rm(join(scene.tree.certificates, 'front-proxy-ca.key'));
    await writeFile(join(scene.tree.certificates, 'etcd/server.crt'), 'damaged');
    const found = await scene.run();
    assert.equal(found.outcome, 'renewed');
    assert.equal(found.renewed.length, kubeadmCertificates.length - 2);
    assert.deepEqual(
      found.problems.map(({ name, code }) => [name, code]),
      [
        ['etcd-server', 'PAIR_MALFORMED'],
        ['front-proxy-client', 'CA_EXTERNAL'],
      ],
    );
  });

  it('does not renew what ends with its CA', async (context) => {
    const short = await mkdtemp(join(tmpdir(), 'nodecertd-unattended-'));
    context.after(() => rm(short, { recursive: true }));
    const scene = await Scene.start(context, await makeKubeadmTree(short, { caDays: 365 }));
    const { outcome, nextDue } = await scene.run();
    assert.deepEqual([outcome, nextDue], ['not-due', undefined]);
  });

  it('refuses if all that is due belongs to an external CA', async (context) => {
    const scene = await Scene.start(context, model);
    for (const ca of ['ca', 'etcd/ca', 'front-proxy-ca']) {
      await rm(join(scene.tree.certificates, `${ca}.key`));
    }
    const { outcome, code, reason, remedy, nextDue } = await scene.run();
    assert.deepEqual([outcome, code, nextDue], ['refused', 'CA_EXTERNAL', undefined]);
    assert.match(reason ?? '', /the key of the CA CN=etcd-ca is not beside/);
    assert.match(remedy ?? '', /--csr-out DIR$/);
    assert.deepEqual(scene.server.requests, []);
  });

  it('refuses without admin.conf, and says which file is missing', async (context) => {
    const scene = await Scene.start(context, model);
    await rm(join(scene.tree.kubernetes, 'admin.conf'));
    const { outcome, code, reason } = await scene.run();
    assert.deepEqual([outcome, code], ['refused', 'KUBECONFIG_MISSING']);
    assert.match(reason ?? '', /admin\.conf does not exist$/);
  });

  it('stops before the next certificate when it is interrupted', async (context) => {
    const scene = await Scene.start(context, model);
    scene.onStep = (what) => {
      if (what === 'etcd-peer') scene.interrupt();
    };
    const { outcome, code, remedy, renewed } = await scene.run();
    assert.deepEqual([outcome, code], ['failed', 'ABORTED']);
    assert.equal(remedy, 'Do nothing; the next call renews what remains');
    assert.deepEqual(
      renewed.map(({ name }) => name),
      ['etcd-server', 'etcd-peer'],
    );
    assert.equal(scene.api.leases.get(leaseKey)?.spec['holderIdentity'], undefined);
  });

  it('waits during another certs command on this node', async (context) => {
    const scene = await Scene.start(context, model);
    await using _ = await lock(join(scene.tree.kubernetes, '.nodecertd'));
    const { outcome, reason, retryAfterSeconds } = await scene.run();
    assert.deepEqual([outcome, retryAfterSeconds], ['waiting', 60]);
    assert.match(reason ?? '', /^another nodecertd command .* is changing files/);
  });
});

describe('renewUnattended() during a CA rollover', () => {
  it('takes no Lease while a step is interrupted', async (context) => {
    const scene = await Scene.start(context, model);
    await interruptStep(scene.tree);
    const { outcome, code, remedy } = await scene.run();
    assert.deepEqual([outcome, code], ['refused', 'STORE_LOCKED']);
    assert.match(remedy ?? '', /^Complete it: nodecertd ca-rollover apply trust --ca kubernetes;/);
    assert.equal(scene.api.leases.get(leaseKey), undefined);
  });
});

describe('renewUnattended() with a wrong clock', () => {
  const cases: readonly (readonly [string, (scene: Scene) => void, RegExp])[] = [
    [
      'five years ahead of the API server',
      (scene) => {
        scene.clock.jump(1825 * day);
        scene.serverAhead = -1825 * day;
      },
      /^the clock of this node is 1825d(?: \d+\w)? ahead of the clock of the API server https:/,
    ],
    [
      'behind the API server',
      (scene) => {
        scene.serverAhead = 2 * minute;
      },
      /^the clock of this node is 1m 5\ds behind the clock|^the clock of this node is 2m(?: \ds)? behind/,
    ],
    [
      'that is not synchronized',
      (scene) => {
        scene.sync = 'unsynchronized';
      },
      /NTPSynchronized=no$/,
    ],
    [
      'before the notBefore of a CA',
      (scene) => scene.clock.jump(-400 * day),
      /^the clock of this node shows \S+, but the CA \S+ca\.crt is valid from /,
    ],
  ];
  for (const [name, prepare, words] of cases) {
    it(`refuses a clock ${name}`, async (context) => {
      const scene = await Scene.start(context, model);
      prepare(scene);
      const before = await snapshot(scene.tree.kubernetes);
      const { outcome, code, reason, retryAfterSeconds } = await scene.run();
      assert.deepEqual([outcome, code, retryAfterSeconds], ['refused', 'CLOCK_UNTRUSTED', 300]);
      assert.match(reason ?? '', words);
      assert.deepEqual(await snapshot(scene.tree.kubernetes), before);
      assert.equal(scene.api.history.length, 0);
    });
  }

  it('refuses expired certificates that no other clock confirms', async (context) => {
    const scene = await Scene.start(context, model);
    await scene.server[Symbol.asyncDispose]();
    scene.clock.jump(1825 * day);
    scene.sync = 'unknown';
    const { outcome, code } = await scene.run();
    assert.deepEqual([outcome, code], ['refused', 'CLOCK_UNTRUSTED']);
  });
});

describe('renewUnattended() while another node is unhealthy', () => {
  it('waits, and does not touch the Lease', async (context) => {
    const scene = await Scene.start(context, model);
    scene.nodes.set('cp2', '127.0.0.2');
    const first = await scene.run();
    assert.deepEqual([first.outcome, first.retryAfterSeconds], ['waiting', 300]);
    assert.match(first.reason ?? '', /^cp2 is unhealthy: .*ECONNREFUSED.* \(for 0s\)$/);
    scene.clock.jump(25 * hour);
    const later = await scene.run();
    assert.equal(later.outcome, 'waiting');
    assert.match(later.reason ?? '', /\(for 1d 1h\)$/);
    assert.equal(scene.api.history.length, 0);
    scene.nodes.delete('cp2');
    assert.equal((await scene.run()).outcome, 'renewed');
    const memory = await readFile(
      join(scene.tree.kubernetes, '.nodecertd/unattended.json'),
      'utf8',
    );
    assert.ok(!memory.includes('unhealthySince'));
  });

  it('renews after a day what has less than 5% left', async (context) => {
    const scene = await Scene.start(context, model);
    scene.nodes.set('cp2', '127.0.0.2');
    scene.clock.jump(20 * day);
    assert.equal((await scene.run()).outcome, 'waiting');
    scene.clock.jump(23 * hour);
    assert.equal((await scene.run()).outcome, 'waiting');
    scene.clock.jump(2 * hour);
    const found = await scene.run();
    assert.deepEqual([found.outcome, found.withoutLease], ['renewed', 'others-unhealthy']);
    // It still prevents two such renewals at the same time.
    assert.match(String(scene.api.history[0]?.spec['holderIdentity']), /^cp1_/);
  });

  it('counts an API server that does not answer', async (context) => {
    const scene = await Scene.start(context, model);
    await scene.server[Symbol.asyncDispose]();
    scene.clock.jump(20 * day);
    const first = await scene.run();
    assert.equal(first.outcome, 'waiting');
    assert.match(first.reason ?? '', /ECONNREFUSED.*\(for 0s\)$/);
    scene.clock.jump(25 * hour);
    assert.equal((await scene.run()).withoutLease, 'others-unhealthy');
  });
});

describe('renewUnattended() after the expiry of its own certificates', () => {
  it('renews without the Lease within 10 minutes, if the API server is away', async (context) => {
    const scene = await Scene.start(context, model);
    await scene.server[Symbol.asyncDispose]();
    scene.clock.jump(35 * day);
    const first = await scene.run();
    assert.equal(first.outcome, 'waiting');
    assert.match(first.reason ?? '', /has expired, and the API server does not answer/);
    assert.ok((first.retryAfterSeconds ?? 601) <= 600);
    scene.clock.jump((first.retryAfterSeconds ?? 0) * 1000);
    const found = await scene.run();
    assert.deepEqual([found.outcome, found.withoutLease], ['renewed', 'api-unreachable']);
    assert.equal(found.renewed.length, kubeadmCertificates.length);
  });

  it('uses the Lease if the API server answers', async (context) => {
    const scene = await Scene.start(context, model);
    scene.clock.jump(35 * day);
    const found = await scene.run();
    assert.deepEqual([found.outcome, found.withoutLease], ['renewed', undefined]);
    assert.match(String(scene.api.history[0]?.spec['holderIdentity']), /^cp1_/);
  });
});
