import assert from 'node:assert/strict';
import { lutimes, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { ControlPlaneAnnotation } from '../../../src/core/control-plane-annotation.ts';
import {
  controlPlaneAnnotationKey,
  parseControlPlaneAnnotation,
} from '../../../src/core/control-plane-annotation.ts';
import { day, hour, minute, second } from '../../../src/core/instant.ts';
import { parseTrustAnnotation, trustAnnotationKey } from '../../../src/core/trust-annotation.ts';
import { signerSearchInterval } from '../../../src/core/timing.ts';
import type { TrustReport } from '../../../src/core/trust-report.ts';
import { base64 } from '../../kube/support/api-server.ts';
import { TrustBench } from './trust-bench.ts';

function ids({ findings }: TrustReport): string[] {
  return findings.map(({ id }) => id);
}

/** What the control plane of this node reports. */
async function reported(bench: TrustBench): Promise<ControlPlaneAnnotation | undefined> {
  await bench.run();
  return parseControlPlaneAnnotation(bench.cluster.annotations[controlPlaneAnnotationKey] ?? '');
}

describe('syncTrust()', () => {
  it('is in sync with a source that has the CA of the node', async (context) => {
    await using bench = await TrustBench.start(context);
    const report = await bench.run();
    assert.equal(report.outcome, 'in-sync', JSON.stringify(report));
    assert.equal(report.stage, 'single');
    assert.deepEqual(report.findings, []);
    assert.equal(await bench.held(), bench.old.pem);
  });

  it('adds a CA of the cluster, and reports it on the Node', async (context) => {
    await using bench = await TrustBench.start(context);
    bench.cluster.bundle = bench.old.pem + bench.next.pem;
    const report = await bench.run();
    assert.equal(report.outcome, 'changed', JSON.stringify(report));
    assert.equal(await bench.held(), bench.old.pem + bench.next.pem);
    assert.equal(report.changedAt, bench.clock.now());
    const text = bench.cluster.annotations[trustAnnotationKey] ?? '';
    const annotation = parseTrustAnnotation(text);
    assert.equal(annotation?.places.kubeconfig.length, 2, text);
    assert.deepEqual(annotation.places.clientCa, annotation.places.kubeconfig);
  });

  it('counts a kubelet with a CA file as proven after six minutes', async (context) => {
    await using bench = await TrustBench.start(context);
    await bench.run();
    bench.cluster.bundle = bench.old.pem + bench.next.pem;
    const changed = await bench.run();
    assert.deepEqual([changed.stage, changed.reader.state], ['adding', 'pending']);
    assert.equal(changed.retryAfterSeconds, (6 * minute) / second);
    assert.equal(changed.reader.restartAt, undefined);
    bench.clock.jump(6 * minute);
    const proven = await bench.run();
    assert.deepEqual([proven.outcome, proven.stage], ['in-sync', 'union']);
  });

  it('finds the same stage again without its memory', async (context) => {
    await using bench = await TrustBench.start(context);
    const both = bench.old.pem + bench.next.pem;
    const stages: string[] = [];
    const runTwice = async (): Promise<void> => {
      const { stage } = await bench.run();
      await rm(join(bench.files.stateDirectory, 'trust/state.json'));
      assert.equal((await bench.run()).stage, stage);
      stages.push(stage);
    };
    await runTwice();
    bench.cluster.bundle = both;
    await runTwice();
    bench.clock.jump(7 * minute);
    await runTwice();
    await bench.storeClientPair(bench.old);
    await bench.signWith(bench.next);
    await runTwice();
    await bench.storeClientPair(bench.next);
    await runTwice();
    await bench.serve(bench.next);
    bench.cluster.bundle = bench.next.pem;
    await runTwice();
    assert.deepEqual(stages, ['single', 'adding', 'union', 'reissuing', 'reissued', 'dropping']);
  });

  it('waits for a file that cannot be written, and changes the others', async (context) => {
    await using bench = await TrustBench.start(context);
    const unwritable = join(bench.files.root, 'directory.pem');
    await mkdir(unwritable);
    bench.cluster.bundle = bench.old.pem + bench.next.pem;
    const files = [unwritable];
    assert.equal((await bench.run({ files })).outcome, 'changed');
    assert.equal(await bench.held(), bench.cluster.bundle);
    bench.clock.jump(7 * minute);
    const report = await bench.run({ files });
    assert.deepEqual([report.outcome, ids(report)], ['waiting', ['place_unusable']]);
    assert.match(report.failure?.message ?? '', /cannot update the CAs in .*directory.pem/);
  });

  it('reports when the kubelet uses a client certificate from after its start', async (context) => {
    await using bench = await TrustBench.start(context);
    await bench.storeClientPair(bench.old);
    const reported = async (): Promise<number | undefined> => {
      await bench.run();
      return parseTrustAnnotation(bench.cluster.annotations[trustAnnotationKey] ?? '')
        ?.clientReadAt;
    };
    assert.equal(await reported(), undefined);
    const now = bench.clock.now();
    const link = join(bench.files.certificateDirectory, 'kubelet-client-current.pem');
    await lutimes(link, now / second, now / second);
    assert.equal(await reported(), now + 6 * minute);
  });

  it('writes the annotation again after a day, and not before', async (context) => {
    await using bench = await TrustBench.start(context);
    await bench.run();
    const first = bench.cluster.annotations[trustAnnotationKey];
    bench.clock.jump(22 * hour);
    await bench.run();
    assert.equal(bench.cluster.annotations[trustAnnotationKey], first);
    bench.clock.jump(hour);
    await bench.run();
    assert.notEqual(bench.cluster.annotations[trustAnnotationKey], first);
  });

  it('has a finding if the node may not change its Node', async (context) => {
    await using bench = await TrustBench.start(context);
    bench.cluster.patchStatus = 403;
    const report = await bench.run();
    assert.deepEqual([report.outcome, ids(report)], ['in-sync', ['annotation_failed']]);
  });

  describe('on a control-plane node', () => {
    it('also reports the CAs of the control plane', async (context) => {
      await using bench = await TrustBench.start(context);
      const startedAt = { 'kube-apiserver': bench.clock.now() - hour };
      bench.cluster.starts = startedAt;
      await bench.writeManifests();
      const found = await reported(bench);
      assert.ok(found !== undefined);
      const { authorities, signer, reportedAt } = found;
      assert.equal(authorities.length, 1);
      assert.deepEqual(found.startedAt, startedAt);
      assert.deepEqual([signer, reportedAt], [authorities[0], bench.clock.now()]);
      assert.ok(bench.cluster.annotations[trustAnnotationKey] !== undefined);
    });

    it('writes this annotation at a change, and once a day', async (context) => {
      await using bench = await TrustBench.start(context);
      await bench.writeManifests();
      const first = await reported(bench);
      bench.clock.jump(22 * hour);
      assert.deepEqual(await reported(bench), first);
      bench.clock.jump(hour);
      const second = await reported(bench);
      assert.deepEqual(second, { ...first, reportedAt: bench.clock.now() });
      await writeFile(join(bench.files.certificateDirectory, 'ca-next.crt'), bench.next.pem);
      bench.clock.jump(minute);
      const third = await reported(bench);
      assert.equal(third?.reportedAt, bench.clock.now());
      assert.notEqual(third.next, undefined);
    });

    it('lists its pods when it reads its Node', async (context) => {
      await using bench = await TrustBench.start(context);
      await bench.writeManifests();
      await bench.run();
      const { pods, 'worker-1': nodes } = await bench.requestsOfAnHour();
      assert.deepEqual([pods, nodes], [1, 1]);
    });

    it('has a finding for each annotation that it may not write', async (context) => {
      await using bench = await TrustBench.start(context);
      await bench.writeManifests();
      bench.cluster.patchStatus = 403;
      const { findings } = await bench.run();
      assert.deepEqual(
        findings
          .filter(({ id }) => id === 'annotation_failed')
          .map(({ message }) => /annotation (\S+) on Node/.exec(message)?.[1]),
        [trustAnnotationKey, controlPlaneAnnotationKey],
      );
    });
  });

  it('trusts the CAs of all sources that differ', async (context) => {
    await using bench = await TrustBench.start(context);
    bench.cluster.clusterInfo = bench.old.pem + bench.next.pem;
    const report = await bench.run();
    assert.deepEqual(ids(report).slice(0, 1), ['sources_differ']);
    assert.equal(await bench.held(), bench.old.pem + bench.next.pem);
  });

  it('writes once while a source alternates, and removes nothing', async (context) => {
    await using bench = await TrustBench.start(context);
    const both = bench.old.pem + bench.next.pem;
    let changes = 0;
    for (let count = 0; count < 30; count += 1) {
      bench.cluster.bundle = count % 2 === 0 ? both : bench.old.pem;
      const { outcome } = await bench.run({ drop: 'auto', dropAfterSeconds: 600 });
      if (outcome === 'changed') changes += 1;
      assert.equal(await bench.held(), both);
      bench.clock.jump(2 * minute);
    }
    assert.equal(changes, 1);
  });

  it('refuses a bundle that does not verify the API server, and writes nothing', async (context) => {
    await using bench = await TrustBench.start(context);
    bench.cluster.bundle = bench.next.pem;
    const report = await bench.run();
    assert.equal(report.outcome, 'refused');
    assert.equal(report.refusal?.reason, 'does-not-verify-server');
    assert.equal(await bench.held(), bench.old.pem);
  });

  it('waits for a source that cannot be read, and keeps the CAs', async (context) => {
    await using bench = await TrustBench.start(context);
    await bench.run();
    await bench.server[Symbol.asyncDispose]();
    const report = await bench.run();
    assert.deepEqual([report.outcome, report.failure?.code], ['waiting', 'API_UNREACHABLE']);
    assert.equal(await bench.held(), bench.old.pem);
  });

  it('reads a file while the API server does not answer', async (context) => {
    await using bench = await TrustBench.start(context);
    const file = join(bench.files.root, 'cluster-ca.pem');
    await writeFile(file, bench.old.pem + bench.next.pem);
    await bench.server[Symbol.asyncDispose]();
    const report = await bench.run({ file });
    assert.equal(report.outcome, 'changed');
    assert.equal(await bench.held(), bench.old.pem + bench.next.pem);
  });

  it('names the certificates whose signer uses another CA now', async (context) => {
    await using bench = await TrustBench.start(context);
    bench.cluster.bundle = bench.old.pem + bench.next.pem;
    await bench.storeClientPair(bench.old);
    await bench.run();
    bench.clock.jump(6 * minute);
    assert.deepEqual(
      (await bench.run()).leaves.map(({ isBehind }) => isBehind),
      [false],
    );
    await bench.signWith(bench.next);
    bench.clock.jump(signerSearchInterval);
    const behind = await bench.run();
    assert.deepEqual([behind.stage, behind.leaves[0]?.isBehind], ['reissuing', true]);
    await bench.storeClientPair(bench.next);
    const reissued = await bench.run();
    assert.deepEqual([reissued.stage, reissued.leaves[0]?.isBehind], ['reissued', false]);
  });

  it('keeps the stage while the API server does not answer', async (context) => {
    await using bench = await TrustBench.start(context);
    bench.cluster.bundle = bench.old.pem + bench.next.pem;
    await bench.storeClientPair(bench.old);
    await bench.run();
    bench.clock.jump(6 * minute);
    await bench.signWith(bench.next);
    assert.equal((await bench.run({}, { byHand: true })).stage, 'reissuing');
    await bench.server[Symbol.asyncDispose]();
    bench.clock.jump(2 * signerSearchInterval);
    for (const byHand of [false, true]) {
      const report = await bench.run({}, { byHand });
      assert.deepEqual([report.outcome, report.stage], ['waiting', 'reissuing']);
    }
  });

  it('finds at once that the signer uses another CA, by hand and on request', async (context) => {
    await using bench = await TrustBench.start(context);
    bench.cluster.bundle = bench.old.pem + bench.next.pem;
    await bench.storeClientPair(bench.old);
    await bench.run();
    await bench.signWith(bench.next);
    assert.equal((await bench.run()).leaves[0]?.isBehind, false);
    assert.equal((await bench.run({}, { refresh: true })).leaves[0]?.isBehind, true);
    await bench.signWith(bench.old);
    assert.equal((await bench.run()).leaves[0]?.isBehind, true);
    assert.equal((await bench.run({}, { byHand: true })).leaves[0]?.isBehind, false);
    await bench.signWith(bench.next);
    assert.equal((await bench.run({}, { byHand: true })).leaves[0]?.isBehind, true);
    assert.equal((await bench.run()).leaves[0]?.isBehind, true);
  });

  it('knows a newer CA from a certificate that this node got after the last search', async (context) => {
    await using bench = await TrustBench.start(context);
    bench.cluster.bundle = bench.old.pem + bench.next.pem;
    await bench.storeClientPair(bench.old);
    await bench.run();
    await bench.storeClientPair(bench.next, bench.clock.now());
    const { leaves, issuer } = await bench.run();
    assert.deepEqual([leaves[0]?.isBehind, leaves[0]?.issuer], [false, issuer]);
  });

  it('asks the API server little, with one CA and with two', async (context) => {
    await using bench = await TrustBench.start(context);
    await bench.storeClientPair(bench.old);
    await bench.run();
    assert.deepEqual(await bench.requestsOfAnHour(), {
      clustertrustbundles: 6,
      'cluster-info': 6,
      'worker-1': 1,
    });
    await bench.signWith(bench.old);
    bench.cluster.bundle = bench.old.pem + bench.next.pem;
    await bench.run();
    bench.clock.jump(10 * minute);
    await bench.run();
    assert.deepEqual(await bench.requestsOfAnHour(), {
      clustertrustbundles: 6,
      'cluster-info': 6,
      'worker-1': 1,
      certificatesigningrequests: 2,
    });
  });

  describe('with a clock in 1970', () => {
    it('drops and refuses nothing, and has a finding', async (context) => {
      await using bench = await TrustBench.start(context);
      const file = join(bench.files.root, 'cluster-ca.pem');
      await writeFile(file, bench.old.pem + bench.next.pem);
      bench.clock.jump(-bench.clock.now());
      const report = await bench.run({ file, drop: 'auto' });
      assert.deepEqual([report.outcome, report.failure?.code], ['waiting', 'CLOCK_UNTRUSTED']);
      assert.ok(ids(report).includes('clock'));
      assert.equal(await bench.held(), bench.old.pem);
    });
  });

  describe('with a clock that is 20 years ahead', () => {
    it('drops nothing, and has a finding', async (context) => {
      await using bench = await TrustBench.start(context);
      bench.cluster.bundle = bench.old.pem + bench.next.pem;
      await bench.run();
      bench.clock.jump(20 * 365 * day);
      bench.sync = 'unknown';
      bench.cluster.bundle = bench.next.pem;
      const report = await bench.run({ drop: 'auto' });
      assert.ok(ids(report).includes('clock'), JSON.stringify(report.findings));
      assert.equal(await bench.held(), bench.old.pem + bench.next.pem);
    });
  });

  it('leaves everything else of an embedding kubeconfig as it is', async (context) => {
    await using bench = await TrustBench.start(context);
    await bench.writeKubeconfig({ pem: bench.old.pem });
    const before = await readFile(bench.files.kubeconfig, 'utf8');
    bench.cluster.bundle = bench.old.pem + bench.next.pem;
    await bench.run();
    const after = await readFile(bench.files.kubeconfig, 'utf8');
    assert.equal(after, before.replace(base64(bench.old.pem), base64(bench.cluster.bundle)));
  });
});
