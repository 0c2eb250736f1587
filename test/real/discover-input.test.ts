import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import { runWithClock } from '../cli/in-process.ts';
import type { ApiClient } from '../support/api-client.ts';
import {
  argsFor,
  DiscoveryBench,
  requireRefusal,
  skipWithoutDiscovery,
} from '../support/discovery-bench.ts';
import { clusterInfoText, idOf } from '../support/discovery-plane.ts';
import type { Ended } from '../support/doctor.ts';
import { hastened } from '../support/hastened-clock.ts';
import { kubeadmProgram, skipWithoutKubeadm } from '../support/kubeadm.ts';
import type { NewMachine } from '../support/new-machine.ts';
import { accessIn, haste } from '../support/new-machine.ts';
import { until } from '../support/until.ts';

interface Report {
  readonly node: { readonly state: string; readonly reason?: string };
  readonly tokenId?: string;
  readonly verifiedBy: string;
  readonly warnings: readonly string[];
}

/** What a machine brings along, on a real cluster and beside kubeadm. */
describe('nodecertd discover', { skip: skipWithoutDiscovery(), timeout: 300_000 }, () => {
  let bench: DiscoveryBench;
  let machine: NewMachine;
  before(async () => {
    bench = await DiscoveryBench.start();
  });
  after(async () => bench?.[Symbol.asyncDispose]());
  beforeEach(async () => {
    machine = await bench.newMachine();
  });
  afterEach(async () => machine[Symbol.asyncDispose]());

  describe('--join', { skip: skipWithoutKubeadm() }, () => {
    it('takes the line that kubeadm prints', async () => {
      const line = await print(bench, machine);
      const ended = await discoverBy(line, machine);
      assert.equal(ended.code, 0, ended.stderr);
      const { server, token, authorities } = await machine.access();
      assert.equal(server, bench.cluster.plane.server);
      assert.ok(line.includes(` --token ${token} `));
      assert.equal(authorities.length, 1);
    });

    it('takes the line for a control-plane node, and reports what it ignores', async () => {
      const ended = await discoverBy(
        await print(bench, machine, '--certificate-key', 'ab'.repeat(32)),
        machine,
      );
      assert.equal(ended.code, 0, ended.stderr);
      assert.match(ended.stderr, /--join: ignored --control-plane, --certificate-key:/);
      assert.doesNotMatch(ended.stderr, /abab/);
    });
  });

  describe('--discovery-file', () => {
    let file: string;
    beforeEach(async () => {
      file = join(machine.folder, 'cluster.conf');
      await writeFile(file, clusterInfoText(bench.cluster.plane));
    });

    const discover = async (...args: readonly string[]): Promise<Ended> =>
      machine.discover('--discovery-file', file, '-o', 'json', ...args);

    it('gets what kubeadm gets from the file and the token', async () => {
      const hash = createHash('sha256')
        .update(await readFile(file))
        .digest('hex');
      const ended = await discover('--discovery-file-hash', `sha256:${hash}`);
      assert.equal(ended.code, 0, ended.stderr);
      const { token } = machine;
      const theirs = await bench.kubeadm.discover({ file, token });
      assert.deepEqual(await machine.access(), accessIn(theirs));
      const { verifiedBy, warnings } = JSON.parse(ended.stdout) as Report;
      assert.equal(verifiedBy, 'file');
      assert.deepEqual(warnings, []);
    });

    it('needs no anonymous access to cluster-info, as kubeadm', async () => {
      await bench.cluster.setPublic(false);
      try {
        const ended = await until('the end of anonymous access', async () => {
          const found = await discover();
          return /HTTP status 403/.test(found.stdout) && found;
        });
        assert.equal(ended.code, 0, ended.stderr);
        const { token } = machine;
        const theirs = await bench.kubeadm.discover({ file, token });
        assert.deepEqual(await machine.access(), accessIn(theirs));
      } finally {
        await bench.cluster.setPublic(true);
      }
    });

    it('takes the client certificate in the file, as kubeadm', async () => {
      await writeFile(file, await bench.cluster.plane.adminKubeconfig());
      const args = ['--discovery-file', file, '--output', machine.output];
      const ended = await runWithClock(hastened(haste), 'discover', ...args);
      assert.equal(ended.code, 0, ended.stderr);
      const written = parse(await readFile(machine.output, 'utf8')) as Kubeconfig;
      const theirs = parse(await bench.kubeadm.discover({ file })) as Kubeconfig;
      const keys = ['client-certificate-data', 'client-key-data'] as const;
      for (const key of keys) assert.equal(written.users[0]?.user[key], theirs.users[0]?.user[key]);
    });

    it('refuses a file with another CA of the same name', async () => {
      const { server } = bench.cluster.plane;
      await writeFile(file, clusterInfoText({ server, caPem: bench.newCa.certificatePem }));
      const ended = await discover();
      assert.equal(ended.code, 1);
      assert.match(ended.stderr, /another CA of that name.* \(API_UNTRUSTED\)/);
    });

    it('refuses a token that the cluster does not know', async () => {
      await bench.cluster.deleteToken(machine.token);
      const ended = await until('the end of the token', async () => {
        const found = await discover('--force');
        return found.code === 1 && found;
      });
      assert.match(ended.stderr, /the token does not authenticate at .* \(TOKEN_REJECTED\)/);
    });
  });

  it('finds a Ready Node of its name, as soon as the token may read Nodes', async () => {
    const { admin } = bench.cluster.plane;
    const args = argsFor(bench.cluster.plane, [bench.cluster.pin]);
    const discover = async (...more: readonly string[]): Promise<Ended> =>
      machine.discover(...args, '--node-name', 'worker-7', '-o', 'json', ...more);
    const stateOf = ({ stdout }: Ended): Report['node'] => (JSON.parse(stdout) as Report).node;
    const unknown = stateOf(await discover('--dry-run'));
    assert.deepEqual(unknown, {
      name: 'worker-7',
      state: 'unknown',
      reason: 'this credential may not read Nodes',
    });
    await allowToGetNodes(admin);
    await until('the permission to read Nodes', async () => {
      return stateOf(await discover('--dry-run')).state === 'absent';
    });
    await createReadyNode(admin, 'worker-7');
    await requireRefusal(
      machine,
      await discover(),
      /has a Node worker-7 that is Ready \(NODE_EXISTS\)/,
    );
    const forced = await discover('--force');
    assert.equal(forced.code, 0, forced.stderr);
    assert.equal(stateOf(forced).state, 'ready');
    assert.equal((JSON.parse(forced.stdout) as Report).tokenId, idOf(machine.token));
  });
});

interface Kubeconfig {
  readonly users: readonly { readonly user: Readonly<Record<string, string>> }[];
}

/** As kubeadm does it (phases/bootstraptoken/node AllowBootstrapTokensToGetNodes). */
async function allowToGetNodes(admin: ApiClient): Promise<void> {
  const path = '/apis/rbac.authorization.k8s.io/v1';
  const name = 'kubeadm:get-nodes';
  await admin.must({
    method: 'POST',
    path: `${path}/clusterroles`,
    body: {
      metadata: { name },
      rules: [{ apiGroups: [''], resources: ['nodes'], verbs: ['get'] }],
    },
  });
  await admin.must({
    method: 'POST',
    path: `${path}/clusterrolebindings`,
    body: {
      metadata: { name },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name },
      subjects: [
        { apiGroup: 'rbac.authorization.k8s.io', kind: 'Group', name: 'system:bootstrappers' },
      ],
    },
  });
}

async function createReadyNode(admin: ApiClient, name: string): Promise<void> {
  await admin.must({ method: 'POST', path: '/api/v1/nodes', body: { metadata: { name } } });
  await admin.must({
    method: 'PATCH',
    path: `/api/v1/nodes/${name}/status`,
    body: { status: { conditions: [{ type: 'Ready', status: 'True' }] } },
  });
}

/** Creates a token with kubeadm, which prints the line. */
async function print(
  { cluster }: DiscoveryBench,
  { folder }: NewMachine,
  ...flags: readonly string[]
): Promise<string> {
  const admin = join(folder, 'admin.conf');
  await writeFile(admin, await cluster.plane.adminKubeconfig());
  const args = ['token', 'create', '--print-join-command', '--kubeconfig', admin, ...flags];
  const { stdout } = await promisify(execFile)(kubeadmProgram(), args);
  return stdout;
}

/** With the token of the line. */
async function discoverBy(line: string, { output }: NewMachine): Promise<Ended> {
  const args = ['--join', line, '--output', output, '-o', 'json'];
  return runWithClock(hastened(haste), 'discover', ...args);
}
