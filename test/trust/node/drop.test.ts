import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { day, hour, minute } from '../../../src/core/instant.ts';
import type { TrustReport } from '../../../src/core/trust-report.ts';
import { dropByHand, previewDrop } from '../../../src/trust/node/manual-drop.ts';
import { previewTrustRollback, rollBackByHand } from '../../../src/trust/node/manual-rollback.ts';
import { TrustBench } from './trust-bench.ts';

const auto = { drop: 'auto', dropAfterSeconds: 3_600 } as const;

/** A node with both CAs, whose API server and certificates use the new one, and whose source lacks the old one. */
async function startBench(context: TestContext): Promise<TrustBench> {
  const bench = await TrustBench.start(context);
  await bench.run();
  bench.cluster.bundle = bench.old.pem + bench.next.pem;
  await bench.run();
  bench.clock.jump(6 * minute);
  await bench.serve(bench.next);
  await bench.storeClientPair(bench.next);
  bench.cluster.bundle = bench.next.pem;
  assert.equal((await bench.run()).stage, 'dropping');
  return bench;
}

function fingerprintOf(pem: string): string {
  return new X509Certificate(pem).fingerprint256.replaceAll(':', '').toLowerCase();
}

/** Lets time pass, with a run every half hour, as a source has to lack a CA without a break. */
async function pass(bench: TrustBench, ms: number): Promise<TrustReport> {
  const end = bench.clock.now() + ms;
  let report = await bench.run(auto);
  while (bench.clock.now() < end) {
    bench.clock.jump(Math.min(hour / 2, end - bench.clock.now()));
    report = await bench.run(auto);
  }
  return report;
}

function reasonsFor({ authorities }: TrustReport, pem: string): readonly string[] | undefined {
  const fingerprint = fingerprintOf(pem);
  return authorities.find((authority) => authority.fingerprint === fingerprint)?.keptBecause;
}

describe('syncTrust() with trust.drop: auto', () => {
  it('drops a CA that nothing needs after trust.dropAfter', async (context) => {
    await using bench = await startBench(context);
    const early = await pass(bench, hour - 1);
    assert.match(
      reasonsFor(early, bench.old.pem)?.join() ?? '',
      /the source has lacked it for 59m/,
    );
    const dropped = await pass(bench, 1);
    assert.deepEqual([dropped.outcome, dropped.stage], ['changed', 'single']);
    assert.equal(await bench.held(), bench.next.pem);
    assert.deepEqual(dropped.findings, []);
  });

  const violations: readonly (readonly [string, (bench: TrustBench) => Promise<void>, RegExp])[] = [
    [
      'an API server that serves a certificate from the CA',
      async (bench) => bench.serve(bench.old),
      /without it, this node does not trust the API server/,
    ],
    [
      'a certificate from the CA',
      async (bench) => bench.storeClientPair(bench.old),
      /it issued .*kubelet-client-current.pem/,
    ],
    [
      'a source that has it again',
      async (bench) => {
        bench.cluster.clusterInfo = bench.old.pem + bench.next.pem;
      },
      /^$/,
    ],
  ];
  for (const [what, violate, reason] of violations) {
    it(`keeps it because of ${what}`, async (context) => {
      await using bench = await startBench(context);
      await violate(bench);
      const report = await pass(bench, 2 * hour);
      assert.match(reasonsFor(report, bench.old.pem)?.join() ?? '', reason);
      assert.equal(await bench.held(), bench.old.pem + bench.next.pem);
    });
  }

  it('keeps it while no API server answers', async (context) => {
    await using bench = await startBench(context);
    await pass(bench, hour - 1);
    await bench.server[Symbol.asyncDispose]();
    const report = await pass(bench, hour / 2);
    assert.match(reasonsFor(report, bench.old.pem)?.join() ?? '', /no source/);
    assert.equal(await bench.held(), bench.old.pem + bench.next.pem);
  });

  it('keeps it with trust.drop: manual, and says that nothing needs it', async (context) => {
    await using bench = await startBench(context);
    await pass(bench, hour - 1);
    bench.clock.jump(1);
    const report = await bench.run({ ...auto, drop: 'manual' });
    assert.deepEqual(reasonsFor(report, bench.old.pem), []);
    assert.deepEqual(
      report.findings.map(({ id }) => id),
      ['ca_droppable'],
    );
    assert.equal(await bench.held(), bench.old.pem + bench.next.pem);
  });
});

describe('syncTrust() with an expired CA', () => {
  it('drops it at once, and keeps the last one', async (context) => {
    await using bench = await TrustBench.start(context, { oldNotAfter: Date.now() + day });
    bench.cluster.bundle = bench.old.pem + bench.next.pem;
    await bench.run(auto);
    assert.equal(await bench.held(), bench.old.pem + bench.next.pem);
    await bench.serve(bench.next);
    bench.clock.jump(2 * day);
    await bench.run(auto);
    assert.equal(await bench.held(), bench.next.pem);
    bench.clock.jump(100 * day);
    await bench.run(auto);
    assert.equal(await bench.held(), bench.next.pem);
  });
});

describe('dropByHand()', () => {
  it('refuses a CA that verifies the API server, unless forced', async (context) => {
    await using bench = await startBench(context);
    await bench.serve(bench.old);
    const fingerprint = fingerprintOf(bench.old.pem).slice(0, 16);
    const request = bench.request({ dropAfterSeconds: 0 });
    const refused = await dropByHand(request, { fingerprint, force: false });
    assert.match(refused.reasons.join(), /does not trust the API server/);
    assert.equal(await bench.held(), bench.old.pem + bench.next.pem);
    await dropByHand(request, { fingerprint, force: true });
    assert.equal(await bench.held(), bench.next.pem);
    const { paths } = await rollBackByHand(request, { force: false, restartNow: false });
    assert.deepEqual(paths, [bench.files.caFile]);
    assert.equal(await bench.held(), bench.old.pem + bench.next.pem);
  });

  it('drops a CA that nothing needs, and a rollback restores it', async (context) => {
    await using bench = await startBench(context);
    const request = bench.request({ dropAfterSeconds: 0 });
    const fingerprint = fingerprintOf(bench.old.pem);
    bench.clock.jump(hour);
    assert.deepEqual((await previewDrop(request, fingerprint)).files, [bench.files.caFile]);
    assert.equal(await bench.held(), bench.old.pem + bench.next.pem);
    assert.deepEqual((await dropByHand(request, { fingerprint, force: false })).reasons, []);
    assert.equal(await bench.held(), bench.next.pem);
    assert.deepEqual((await previewTrustRollback(request)).paths, [bench.files.caFile]);
    await rollBackByHand(request, { force: false, restartNow: false });
    assert.equal(await bench.held(), bench.old.pem + bench.next.pem);
    // The source has to lack it for trust.dropAfter again.
    const report = await bench.run(auto);
    assert.match(reasonsFor(report, bench.old.pem)?.join() ?? '', /lacked it for 0s/);
  });

  it('never drops the last CA', async (context) => {
    await using bench = await TrustBench.start(context);
    const fingerprint = fingerprintOf(bench.old.pem);
    await assert.rejects(dropByHand(bench.request(), { fingerprint, force: true }), {
      code: 'USAGE',
      message: /is the only CA of this node/,
    });
  });

  it('names the CAs for an unknown fingerprint', async (context) => {
    await using bench = await TrustBench.start(context);
    await assert.rejects(previewDrop(bench.request(), '00000000'), { code: 'USAGE' });
  });
});

describe('rollBackByHand()', () => {
  it('takes a new CA out again, until a person runs the command', async (context) => {
    await using bench = await TrustBench.start(context);
    bench.cluster.bundle = bench.old.pem + bench.next.pem;
    await bench.run();
    await rollBackByHand(bench.request(), { force: false, restartNow: false });
    assert.equal(await bench.held(), bench.old.pem);
    const held = await bench.run();
    assert.deepEqual(
      [held.outcome, held.findings.map(({ id }) => id)],
      ['waiting', ['trust_rolled_back']],
    );
    assert.equal(await bench.held(), bench.old.pem);
    await bench.run({}, { byHand: true });
    assert.equal(await bench.held(), bench.old.pem + bench.next.pem);
  });

  it('restores nothing without a change', async (context) => {
    await using bench = await TrustBench.start(context);
    const { paths } = await rollBackByHand(bench.request(), { force: false, restartNow: false });
    assert.deepEqual(paths, []);
  });
});
