import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Ended } from '../support/doctor.ts';
import { TrustBench } from '../trust/node/trust-bench.ts';
import { runWithClock } from './in-process.ts';

function fingerprintOf(pem: string): string {
  return new X509Certificate(pem).fingerprint256.replaceAll(':', '').toLowerCase();
}

/** Runs the command with a configuration file for the files of the bench. */
async function trust(bench: TrustBench, ...args: readonly string[]): Promise<Ended> {
  const { root, kubeconfig, certificateDirectory, stateDirectory, configFile } = bench.files;
  const config = join(root, 'config.yaml');
  const text = {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'AgentConfiguration',
    nodeName: 'worker-1',
    kubeconfig,
    certificateDirectory,
    stateDirectory,
    kubelet: { configFile, certificateDirectory },
    trust: { enabled: true },
  };
  await writeFile(config, JSON.stringify(text));
  return runWithClock(bench.clock, 'trust', ...args, '--config', config);
}

describe('nodecertd trust sync', () => {
  it('shows CAs, places and sources', async (context) => {
    await using bench = await TrustBench.start(context);
    const { code, stdout, stderr } = await trust(bench, 'sync');
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, /^This node trusts the CAs of its sources\nStage: single\n/);
    const short = fingerprintOf(bench.old.pem).slice(0, 16);
    assert.match(stdout, new RegExp(`CN=kubernetes +${short} .* yes +yes\n`));
    assert.match(stdout, /kubelet-kubeconfig .*kubelet\.conf/);
    assert.match(stdout, /cluster-trust-bundle +b +read/);
  });

  it('exits with 1 for CAs that are refused, with the reason', async (context) => {
    await using bench = await TrustBench.start(context);
    bench.cluster.bundle = bench.next.pem;
    const { code, stdout } = await trust(bench, 'sync');
    assert.equal(code, 1);
    assert.match(
      stdout,
      /^Refused: .*they do not verify the API server.* \(TRUST_REFUSED\)\n {2}→ /,
    );
  });

  it('exits with 3 while the API server does not answer', async (context) => {
    await using bench = await TrustBench.start(context);
    await bench.server[Symbol.asyncDispose]();
    const { code, stdout } = await trust(bench, 'sync', '-o', 'json', '--unattended');
    assert.equal(code, 3);
    const { kind, outcome } = JSON.parse(stdout) as Record<string, unknown>;
    assert.deepEqual([kind, outcome], ['TrustReport', 'waiting']);
  });

  it('says how to enable it', async (context) => {
    await using bench = await TrustBench.start(context);
    const config = join(bench.files.root, 'disabled.yaml');
    const head = 'apiVersion: nodecertd.io/v1alpha1\nkind: AgentConfiguration\nnodeName: a\n';
    await writeFile(config, head);
    const ended = await runWithClock(bench.clock, 'trust', 'sync', '--config', config);
    assert.equal(ended.code, 1);
    assert.match(ended.stderr, /trust.enabled is not true in .*disabled.yaml/);
  });
});

describe('nodecertd trust drop', () => {
  it('refuses a CA that is needed, and drops it with --force', async (context) => {
    await using bench = await TrustBench.start(context);
    bench.cluster.bundle = bench.old.pem + bench.next.pem;
    await trust(bench, 'sync');
    const fingerprint = fingerprintOf(bench.old.pem).slice(0, 16);
    const refused = await trust(bench, 'drop', fingerprint, '--yes');
    assert.equal(refused.code, 4);
    assert.match(refused.stdout, /^Refused: this node still needs the CA\n/);
    assert.match(refused.stdout, /REASONS TO KEEP IT\n {2}the source has it\n/);
    const forced = await trust(bench, 'drop', fingerprint, '--yes', '--force', '-o', 'json');
    assert.equal(forced.code, 0);
    const { state, files } = JSON.parse(forced.stdout) as Record<string, unknown>;
    assert.deepEqual([state, files], ['done', [bench.files.caFile]]);
    assert.equal(await bench.held(), bench.next.pem);
    const restored = await trust(bench, 'rollback', '--yes', '--force');
    assert.match(
      restored.stdout,
      /^The files from before the last change of the CAs are restored\n/,
    );
    assert.equal(await bench.held(), bench.old.pem + bench.next.pem);
  });

  it('does not accept less than eight digits', async (context) => {
    await using bench = await TrustBench.start(context);
    const { code, stderr } = await trust(bench, 'drop', 'abc');
    assert.equal(code, 2);
    assert.match(stderr, /8 to 64 hexadecimal digits/);
  });
});

describe('nodecertd trust rollback', () => {
  it('has nothing to do without a change, and lists the files with --dry-run', async (context) => {
    await using bench = await TrustBench.start(context);
    const nothing = await trust(bench, 'rollback', '--yes');
    assert.equal(nothing.code, 0);
    assert.match(nothing.stdout, /^There is no change of the CAs to roll back\n/);
    bench.cluster.bundle = bench.old.pem + bench.next.pem;
    await trust(bench, 'sync');
    const planned = await trust(bench, 'rollback', '--dry-run');
    assert.equal(planned.code, 0);
    assert.match(planned.stdout, new RegExp(`FILES\n {2}${bench.files.caFile}\n`));
    assert.equal(await bench.held(), bench.old.pem + bench.next.pem);
  });
});
