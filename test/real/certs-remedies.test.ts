import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import type { InventoryState } from '../../src/pki/inventory/judge.ts';
import { kubeadmProgram, skipWithoutKubeadm } from '../support/kubeadm.ts';
import { RealKubeadmTree } from '../support/kubeadm-tree.ts';

const run = promisify(execFile);
const main = join(import.meta.dirname, '../../src/main.ts');

interface Row {
  readonly name: string;
  readonly state: InventoryState;
  readonly remedy?: string;
}

/** A node whose programs `kubeadm` and `nodecertd` use its files. */
class Node {
  readonly tree: RealKubeadmTree;
  readonly #environment: NodeJS.ProcessEnv;

  constructor(tree: RealKubeadmTree) {
    this.tree = tree;
    const path = `${join(tree.root, 'bin')}:${process.env['PATH']}`;
    this.#environment = { ...process.env, PATH: path, HOME: join(tree.root, 'root') };
  }

  static async create(context: TestContext, model: RealKubeadmTree): Promise<Node> {
    const tree = await model.copy();
    context.after(() => tree[Symbol.asyncDispose]());
    const programs = {
      kubeadm: `${kubeadmProgram()} "$@" --rootfs ${tree.root} --config /config.yaml`,
      nodecertd: `${process.execPath} ${main} "$@" --kubernetes-dir ${tree.kubernetes} --yes --no-verify`,
    };
    await mkdir(join(tree.root, 'bin'));
    await mkdir(join(tree.root, 'root/.kube'), { recursive: true });
    for (const [name, command] of Object.entries(programs)) {
      await writeFile(join(tree.root, 'bin', name), `#!/bin/sh\nexec ${command}\n`, {
        mode: 0o755,
      });
    }
    return new Node(tree);
  }

  file(name: string): string {
    return join(this.tree.kubernetes, name);
  }

  /** The row of a certificate in `check-expiration`. */
  async row(name: string): Promise<Row> {
    const args = ['certs', 'check-expiration', '--no-dial', '-o', 'json'];
    const all = [main, ...args, '--kubernetes-dir', this.tree.kubernetes];
    const { stdout } = await run(process.execPath, all, { env: this.#environment }).catch(
      (error: { readonly stdout: string }) => error,
    );
    const { items } = JSON.parse(stdout) as { readonly items: readonly Row[] };
    const found = items.find((item) => item.name === name);
    assert.ok(found !== undefined, `no row ${name}`);
    return found;
  }

  /** Runs the command of a remedy. */
  async follow({ remedy = '' }: Row): Promise<void> {
    const command = remedy.slice(remedy.indexOf(': ') + 2).replace(/, or .*$/, '');
    // Exit code 3 is a warning, for example that a program has to be restarted.
    const script = `${command} || [ $? -eq 3 ]`;
    await run('/bin/sh', ['-c', script], { env: this.#environment });
  }
}

describe('remedies of certs check-expiration', { skip: skipWithoutKubeadm() }, () => {
  let model: RealKubeadmTree;
  before(async () => {
    model = await RealKubeadmTree.create({ algorithm: 'ECDSA-P256' });
  });
  after(async () => model[Symbol.asyncDispose]());

  const faults: Readonly<
    Record<
      string,
      {
        readonly state: InventoryState;
        readonly name: string;
        readonly damage: (node: Node) => Promise<unknown>;
      }
    >
  > = {
    'a missing certificate whose key exists': {
      name: 'apiserver',
      state: 'missing',
      damage: (node) => rm(node.file('pki/apiserver.crt')),
    },
    'a missing certificate without its key': {
      name: 'etcd-peer',
      state: 'missing',
      damage: async (node) => {
        await rm(node.file('pki/etcd/peer.crt'));
        await rm(node.file('pki/etcd/peer.key'));
      },
    },
    'a missing kubeconfig': {
      name: 'scheduler.conf',
      state: 'missing',
      damage: (node) => rm(node.file('scheduler.conf')),
    },
    'a missing key': {
      name: 'front-proxy-client',
      state: 'key-mismatch',
      damage: (node) => rm(node.file('pki/front-proxy-client.key')),
    },
    'a key of another certificate': {
      name: 'apiserver',
      state: 'key-mismatch',
      damage: (node) =>
        copyFile(node.file('pki/apiserver-kubelet-client.key'), node.file('pki/apiserver.key')),
    },
    'a key that every user can read': {
      name: 'apiserver',
      state: 'mode',
      damage: (node) => chmod(node.file('pki/apiserver.key'), 0o644),
    },
    'a certificate of the previous CA': {
      name: 'apiserver',
      state: 'wrong-ca',
      damage: replaceCa,
    },
    'a kubeconfig with a certificate of the previous CA': {
      name: 'admin.conf',
      state: 'wrong-ca',
      damage: replaceCa,
    },
  };
  for (const [what, { name, state, damage }] of Object.entries(faults)) {
    it(`mends ${what}`, async (context) => {
      const node = await Node.create(context, model);
      await damage(node);
      const row = await node.row(name);
      assert.equal(row.state, state);
      await node.follow(row);
      assert.equal((await node.row(name)).state, 'ok');
    });
  }

  it('mends an old copy of admin.conf', async (context) => {
    const node = await Node.create(context, model);
    const copy = join(node.tree.root, 'root/.kube/config');
    await copyFile(node.file('admin.conf'), copy);
    await node.tree.kubeadm('certs', 'renew', 'admin.conf');
    const row = await node.row(`${copy} (user kubernetes-admin)`);
    assert.equal(row.state, 'stale-copy');
    await node.follow(row);
    assert.equal((await node.row('admin.conf')).state, 'ok');
    await assert.rejects(node.row(row.name), /no row/);
  });
});

async function replaceCa(node: Node): Promise<void> {
  await rm(node.file('pki/ca.crt'));
  await rm(node.file('pki/ca.key'));
  await node.tree.kubeadm('init', 'phase', 'certs', 'ca');
}
