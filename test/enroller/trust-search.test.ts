import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { AgentConfig } from '../../src/core/config.ts';
import { AgentError } from '../../src/core/errors.ts';
import type { ClusterEndpoint } from '../../src/kube/cluster-access.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';
import { trustDefaults } from '../support/trust-defaults.ts';
import { startSandbox } from '../sandbox/sandbox.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { userOf, withOldCa } from './credentials.ts';
import { discoveryOf, pin, withDiscovery } from './discovered.ts';
import { enrolledPair } from './enrolled-pair.ts';
import { Bench } from './fixtures.ts';

/** A node with `bootstrap.discovery`, which finds the sandbox. */
interface Node {
  readonly bench: Bench;
  readonly config: AgentConfig;
  /** How often the discovery ran. */
  runs: number;
}

async function nodeOn(bench: Bench, cluster: Sandbox = bench.sandbox): Promise<Node> {
  const node: Node = { bench, config: await withDiscovery(bench), runs: 0 };
  bench.discover = async () => {
    node.runs += 1;
    return discoveryOf(cluster);
  };
  return node;
}

const unexpectedTrust = async (): Promise<void> => assert.fail('the trust has not changed');

describe('TrustSearch', () => {
  it('discovers the cluster on a node without any kubeconfig', async () => {
    await using bench = await Bench.create();
    const node = await nodeOn(bench);
    await using access = bench.access(undefined, node);
    assert.equal(await userOf(access), 'system:bootstrap');
    assert.deepEqual([access.source, access.trustLost, node.runs], ['bootstrap', undefined, 1]);
  });

  it('prefers a valid kubeconfig that verifies the API server', async () => {
    await using bench = await Bench.create();
    const node = await nodeOn(bench);
    await writeFile(node.config.kubeconfig, bench.sandbox.adminKubeconfig());
    await using access = bench.access(undefined, node);
    assert.equal(await userOf(access), 'sandbox-admin');
    assert.equal(node.runs, 0);
  });

  it('prefers a bootstrap kubeconfig that verifies the API server', async () => {
    await using bench = await Bench.create();
    const node = await nodeOn(bench);
    const { bootstrapKubeconfig = '' } = bench.config;
    const config = { ...node.config, bootstrapKubeconfig };
    await using access = bench.access(undefined, { config });
    assert.equal(await userOf(access), 'system:bootstrap');
    assert.equal(node.runs, 0);
  });

  it('runs no discovery while the API server does not answer', async () => {
    await using bench = await Bench.create();
    const node = await nodeOn(bench);
    await writeFile(node.config.kubeconfig, bench.sandbox.adminKubeconfig());
    await bench.sandbox.stopListening();
    await using access = bench.access(undefined, node);
    await access.ready();
    assert.deepEqual([access.source, node.runs], ['kubeconfig', 0]);
  });

  it('replaces a bootstrap kubeconfig whose token the API server rejects', async () => {
    await using bench = await Bench.create();
    const node = await nodeOn(bench);
    const text = bench.sandbox.bootstrapKubeconfig();
    await bench.writeBootstrap(text.replace(/token: .*/, 'token: aaaaaa.0123456789abcdef'));
    const { bootstrapKubeconfig = '' } = bench.config;
    const config = { ...node.config, bootstrapKubeconfig };
    await using access = bench.access(undefined, { config });
    assert.equal(await userOf(access), 'system:bootstrap');
    assert.deepEqual([node.runs, access.trustLost], [1, undefined]);
  });

  it('replaces a bootstrap kubeconfig that does not verify the API server', async () => {
    await using bench = await Bench.create();
    const node = await nodeOn(bench);
    await bench.writeBootstrap(withOldCa(bench.sandbox.bootstrapKubeconfig(), bench.sandbox));
    const { bootstrapKubeconfig = '' } = bench.config;
    await using access = bench.access(undefined, {
      config: { ...node.config, bootstrapKubeconfig },
    });
    assert.equal(await userOf(access), 'system:bootstrap');
    assert.equal(node.runs, 1);
  });

  it('keeps its own pair and the discovered trust if the API server accepts the pair', async () => {
    await using bench = await Bench.create();
    const node = await nodeOn(bench);
    const pair = await enrolledPair(bench);
    const text = await readFile(bench.config.kubeconfig, 'utf8');
    await writeFile(bench.config.kubeconfig, withOldCa(text, bench.sandbox));
    const kept: ClusterEndpoint[] = [];
    const keepTrust = async (cluster: ClusterEndpoint): Promise<void> => void kept.push(cluster);
    await using access = bench.access(pair, { ...node, keepTrust });
    assert.equal(await userOf(access), 'system:node:worker-1');
    assert.deepEqual([access.source, access.trustLost, node.runs], ['kubeconfig', undefined, 1]);
    const [{ server, certificateAuthority } = {}] = kept;
    assert.equal(server, bench.sandbox.server);
    assert.equal(Buffer.from(certificateAuthority?.pem ?? []).toString(), bench.sandbox.caPem);
  });

  it('keeps the server of the kubeconfig if the discovered CAs verify it', async () => {
    await using bench = await Bench.create();
    const node = await nodeOn(bench);
    const pair = await enrolledPair(bench);
    const text = await readFile(bench.config.kubeconfig, 'utf8');
    const local = bench.sandbox.server.replace('127.0.0.1', 'localhost');
    const moved = text.replace(bench.sandbox.server, local);
    await writeFile(bench.config.kubeconfig, withOldCa(moved, bench.sandbox));
    const kept: ClusterEndpoint[] = [];
    const keepTrust = async (cluster: ClusterEndpoint): Promise<void> => void kept.push(cluster);
    await using access = bench.access(pair, { ...node, keepTrust });
    assert.equal(await userOf(access), 'system:node:worker-1');
    assert.deepEqual(
      kept.map(({ server }) => server),
      [local],
    );
  });

  it('stays at the server of the kubeconfig if another server answers there', async () => {
    await using bench = await Bench.create();
    await using foreign = await startSandbox({ clock: systemClock });
    const node = await nodeOn(bench);
    const pair = await enrolledPair(bench);
    const text = await readFile(bench.config.kubeconfig, 'utf8');
    await writeFile(bench.config.kubeconfig, text.replace(bench.sandbox.server, foreign.server));
    await using access = bench.access(pair, { ...node, keepTrust: unexpectedTrust });
    await assert.rejects(access.ready(), { code: 'API_UNTRUSTED' });
    assert.equal(access.trustLost?.code, 'API_UNTRUSTED');
    assert.equal(node.runs, 1);
  });

  it('uses the token if the discovered cluster rejects the pair', async () => {
    await using bench = await Bench.create();
    await using other = await startSandbox({ clock: systemClock });
    const pair = await enrolledPair(bench);
    // The old CA with the address of the new cluster.
    const text = await readFile(bench.config.kubeconfig, 'utf8');
    await writeFile(bench.config.kubeconfig, text.replace(bench.sandbox.server, other.server));
    const node = await nodeOn(bench, other);
    const { config } = node;
    const [, token = ''] = /token: (\S+)/.exec(other.bootstrapKubeconfig()) ?? [];
    await writeFile(config.bootstrap.discovery?.tokenFile ?? '', token);
    await using access = bench.access(pair, { config });
    assert.equal(await userOf(access), 'system:bootstrap');
    assert.equal(access.source, 'bootstrap');
    assert.match(bench.all('identity-refused')[0]?.error ?? '', /401/);
  });

  it('uses the bootstrap kubeconfig of an administrator before a discovery', async () => {
    await using bench = await Bench.create();
    const node = await nodeOn(bench);
    const pair = await enrolledPair(bench);
    const text = await readFile(bench.config.kubeconfig, 'utf8');
    await writeFile(bench.config.kubeconfig, withOldCa(text, bench.sandbox));
    const { bootstrapKubeconfig = '' } = bench.config;
    await using access = bench.access(pair, { config: { ...node.config, bootstrapKubeconfig } });
    assert.equal(await userOf(access), 'system:node:worker-1');
    assert.equal(node.runs, 0);
  });

  it('uses no bootstrap kubeconfig with a CA that trust.caCertHashes lacks', async () => {
    await using bench = await Bench.create();
    const node = await nodeOn(bench);
    const pair = await enrolledPair(bench);
    const text = await readFile(bench.config.kubeconfig, 'utf8');
    await writeFile(bench.config.kubeconfig, withOldCa(text, bench.sandbox));
    const { bootstrapKubeconfig = '' } = bench.config;
    const config = { ...node.config, bootstrapKubeconfig };
    const trust = { ...trustDefaults, pins: [pin] };
    await using access = bench.access(pair, { config: { ...config, trust } });
    assert.equal(await userOf(access), 'system:node:worker-1');
    assert.equal(node.runs, 1);
  });

  it('names the lost trust and the command if the discovery fails', async () => {
    await using bench = await Bench.create();
    const { config } = await nodeOn(bench);
    await writeFile(config.kubeconfig, withOldCa(bench.sandbox.adminKubeconfig(), bench.sandbox));
    bench.discover = async () => {
      throw new AgentError('CLUSTER_UNTRUSTED', 'pinned A, the cluster has B');
    };
    await using access = bench.access(undefined, { config });
    await assert.rejects(access.ready(), (error) => {
      assert.ok(error instanceof AgentError);
      assert.equal(error.code, 'CLUSTER_UNTRUSTED');
      assert.match(
        error.message,
        /its certificate \(SHA-256 \w+\) was signed by .+; pinned A, the cluster has B$/,
      );
      const { tokenFile } = config.bootstrap.discovery ?? {};
      const command = `nodecertd discover --endpoint 10.0.0.1:6443 --token-file ${tokenFile} --ca-cert-hash sha256:HEX`;
      assert.ok(error.remedy?.includes(command) === true, error.message);
      return true;
    });
    assert.equal(access.trustLost?.code, 'API_UNTRUSTED');
  });

  it('reports only the failed discovery on a new node', async () => {
    await using bench = await Bench.create();
    const { config } = await nodeOn(bench);
    await rm(config.bootstrap.discovery?.tokenFile ?? '');
    await using access = bench.access(undefined, { config });
    await assert.rejects(access.ready(), {
      code: 'KUBECONFIG_MISSING',
      message: `the token file ${join(bench.directory, 'token')} does not exist`,
    });
    assert.equal(access.trustLost, undefined);
  });

  it('refuses to overwrite another kind of file', async () => {
    await using bench = await Bench.create();
    const { config } = await nodeOn(bench);
    await writeFile(config.kubeconfig, 'kind: KubeletConfiguration\n');
    await using access = bench.access(join(bench.directory, 'pair.pem'), { config });
    await assert.rejects(access.ready(), {
      code: 'KUBECONFIG_INVALID',
      message: /overwrites only/,
    });
  });

  it('discovers again for each attempt, so that a new token is used', async () => {
    await using bench = await Bench.create();
    const node = await nodeOn(bench);
    await using access = bench.access(undefined, node);
    await access.ready();
    await access.ready();
    assert.equal(node.runs, 2);
  });
});
