import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parse } from 'yaml';
import { DiscoveryBench, skipWithoutDiscovery } from '../support/discovery-bench.ts';
import { clusterInfoText } from '../support/discovery-plane.ts';
import { accessIn, NewMachine } from '../support/new-machine.ts';
import { kubeconfig } from '../support/real-components.ts';

/** Discovery from a file, beside kubeadm's own code. */
describe('nodecertd discover --discovery-file', { skip: skipWithoutDiscovery() }, () => {
  let bench: DiscoveryBench;
  before(async () => {
    bench = await DiscoveryBench.start();
  });
  after(async () => bench?.[Symbol.asyncDispose]());

  /** A machine with a discovery file. */
  async function machineWith(text: string): Promise<{ machine: NewMachine; file: string }> {
    const machine = await NewMachine.create(await bench.cluster.createSignedToken());
    const file = join(machine.folder, 'discovery.conf');
    await writeFile(file, text, { mode: 0o600 });
    return { machine, file };
  }

  it('gets what kubeadm gets from the kubeconfig of cluster-info and a token', async () => {
    const { machine, file } = await machineWith(clusterInfoText(bench.cluster.plane));
    await using _ = machine;
    const ended = await machine.discover('--discovery-file', file);
    assert.equal(ended.code, 0, ended.stderr);
    const theirs = await bench.kubeadm.discover({ file, token: machine.token });
    assert.deepEqual(await machine.access(), accessIn(theirs));
  });

  it('gets what kubeadm gets if anonymous users may not read cluster-info', async () => {
    const { machine, file } = await machineWith(clusterInfoText(bench.cluster.plane));
    await using _ = machine;
    await bench.cluster.setPublic(false);
    try {
      const ended = await machine.discover('--discovery-file', file);
      assert.equal(ended.code, 0, ended.stderr);
      const theirs = await bench.kubeadm.discover({ file, token: machine.token });
      assert.deepEqual(await machine.access(), accessIn(theirs));
    } finally {
      await bench.cluster.setPublic(true);
    }
  });

  it('takes the client certificate of the file, as kubeadm does', async () => {
    const { machine, file } = await machineWith(await bench.cluster.plane.adminKubeconfig());
    await using _ = machine;
    const ended = await machine.discoverWithoutToken('--discovery-file', file);
    assert.equal(ended.code, 0, ended.stderr);
    const [ours, theirs] = [
      await readFile(machine.output, 'utf8'),
      await bench.kubeadm.discover({ file }),
    ];
    assert.deepEqual(credentialOf(ours), credentialOf(theirs));
  });

  it('refuses the CA of another cluster at once', async () => {
    const { plane } = bench.cluster;
    const caPem = bench.oldCa.certificatePem;
    const text = kubeconfig({
      server: plane.server,
      caPem,
      user: { token: 'zzzzzz.0123456789abcdef' },
    });
    const { machine, file } = await machineWith(text);
    await using _ = machine;
    const ended = await machine.discover('--discovery-file', file);
    assert.equal(ended.code, 1);
    assert.match(ended.stderr, /\((?:CLUSTER|API)_UNTRUSTED\)/);
    assert.doesNotMatch(ended.stderr, /next attempt/);
    await assert.rejects(
      bench.kubeadm.discover({ file, token: machine.token, timeoutSeconds: 1 }),
      /certificate signed by unknown authority/,
    );
  });
});

/** The server and the client certificate. */
function credentialOf(text: string): unknown[] {
  const { clusters, users } = parse(text) as {
    readonly clusters: readonly { readonly cluster: Record<string, string> }[];
    readonly users: readonly { readonly user: Record<string, string> }[];
  };
  const user = users[0]?.user ?? {};
  return [clusters[0]?.cluster, user['client-certificate-data'], user['client-key-data']];
}
