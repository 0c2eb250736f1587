import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { formatInstant, hour, minute } from '../../../src/core/instant.ts';
import type { TrustReport } from '../../../src/core/trust-report.ts';
import { TrustBench } from './trust-bench.ts';

/** A node whose kubelet has read its embedded CA, before the cluster gets another one. */
async function startBench(context: TestContext, refused?: string): Promise<TrustBench> {
  const bench = await TrustBench.start(context);
  await bench.writeKubeconfig({ pem: bench.old.pem });
  await bench.startKubeletService(refused);
  assert.equal((await bench.run()).reader.state, 'current');
  bench.cluster.bundle = bench.old.pem + bench.next.pem;
  return bench;
}

function findingOf({ findings }: TrustReport, id: string): string {
  return findings.find((finding) => finding.id === id)?.message ?? '';
}

describe('restartIfDue()', () => {
  it('restarts a kubelet with embedded CAs within the spread', async (context) => {
    await using bench = await startBench(context);
    const changed = await bench.run();
    const { restartAt = 0 } = changed.reader;
    assert.ok(restartAt >= bench.clock.now() && restartAt <= bench.clock.now() + 10 * minute);
    assert.match(findingOf(changed, 'reader_pending'), /nodecertd restarts it at/);
    assert.equal(await bench.restarts(), 0);
    bench.clock.jump(restartAt - bench.clock.now());
    const restarted = await bench.run();
    assert.deepEqual([restarted.outcome, restarted.stage], ['changed', 'union']);
    assert.equal(restarted.reader.state, 'current');
    assert.equal(await bench.restarts(), 1);
    assert.equal((await bench.run()).outcome, 'in-sync');
  });

  it('restarts at once by hand', async (context) => {
    await using bench = await startBench(context);
    const report = await bench.run({ kubelet: 'none' }, { restartNow: true });
    assert.equal(report.reader.state, 'current');
    assert.equal(await bench.restarts(), 1);
  });

  for (const kubelet of ['hook', 'none'] as const) {
    it(`does not restart the kubelet with trust.kubelet: ${kubelet}`, async (context) => {
      await using bench = await startBench(context);
      await bench.run({ kubelet });
      bench.clock.jump(hour);
      const report = await bench.run({ kubelet });
      assert.deepEqual([report.outcome, report.reader.state], ['waiting', 'pending']);
      assert.match(report.failure?.remedy ?? '', /systemctl restart kubelet/);
      assert.equal(await bench.restarts(), 0);
    });
  }

  it('does not restart while a CSR of the agent is pending', async (context) => {
    await using bench = await startBench(context);
    const { stateDirectory } = bench.files;
    await mkdir(stateDirectory, { recursive: true });
    const outstanding = [{ csr: 'csr-1', createdAt: bench.clock.now() }];
    const state = JSON.stringify({ certificates: { 'kubelet-client': { outstanding } } });
    await writeFile(join(stateDirectory, 'state.json'), state);
    await bench.run();
    bench.clock.jump(10 * minute);
    const report = await bench.run();
    assert.match(report.failure?.message ?? '', /CSR csr-1 is pending/);
    assert.equal(report.retryAfterSeconds, 60);
    assert.equal(await bench.restarts(), 0);
  });

  it('does not restart while a CSR of the kubelet is pending', async (context) => {
    await using bench = await startBench(context);
    bench.cluster.csrs = [
      {
        metadata: { name: 'csr-2', creationTimestamp: formatInstant(bench.clock.now()) },
        spec: { request: '', signerName: 'a/b', username: 'system:node:worker-1' },
      },
    ];
    const report = await bench.run({ spreadSeconds: 0 });
    assert.match(report.failure?.message ?? '', /CSR csr-2 is pending/);
    assert.equal(await bench.restarts(), 0);
  });

  it('restores the files if the kubelet does not stay up, and tries again later', async (context) => {
    const bench = await TrustBench.start(context);
    await using _ = bench;
    const embedded = Buffer.from(bench.old.pem + bench.next.pem).toString('base64');
    await bench.writeKubeconfig({ pem: bench.old.pem });
    await bench.startKubeletService(embedded);
    await bench.run();
    bench.cluster.bundle = bench.old.pem + bench.next.pem;
    const failed = await bench.run({ spreadSeconds: 0 });
    assert.deepEqual([failed.outcome, failed.failure?.code], ['failed', 'KUBELET_RESTART']);
    assert.match(
      failed.failure?.message ?? '',
      /the previous CAs are restored, and the kubelet was/,
    );
    assert.match(findingOf(failed, 'trust_rolled_back'), /did not stay up/);
    assert.equal(await bench.restarts(), 2);
    const held = failed.places.find(({ kind }) => kind === 'kubelet-kubeconfig');
    assert.equal(held?.authorities.length, 1);

    const waiting = await bench.run({ spreadSeconds: 0 });
    assert.equal(waiting.outcome, 'waiting');
    assert.match(findingOf(waiting, 'trust_rolled_back'), /writes the CAs of the sources again at/);
    assert.equal(await bench.restarts(), 2);

    bench.clock.jump(hour);
    await bench.run({ spreadSeconds: 0 });
    assert.equal(await bench.restarts(), 4);
    // The delay doubles.
    bench.clock.jump(hour);
    await bench.run({ spreadSeconds: 0 });
    assert.equal(await bench.restarts(), 4);
    const byHand = await bench.run({ spreadSeconds: 0 }, { byHand: true });
    assert.equal(byHand.outcome, 'failed');
  });
});
