import assert from 'node:assert/strict';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Ended } from '../support/doctor.ts';
import { nodecertd } from '../support/doctor.ts';
import { kubeadm, makeKubeadmRoot, skipWithoutKubeadm } from '../support/kubeadm.ts';

/** `certs check-expiration` beside kubeadm's own, on trees that kubeadm made. */

const skip = skipWithoutKubeadm();

let fresh = '';

async function ours(root: string, ...args: readonly string[]): Promise<Ended> {
  const kubernetes = join(root, 'etc/kubernetes');
  return nodecertd(
    'certs',
    'check-expiration',
    '--no-dial',
    '--kubernetes-dir',
    kubernetes,
    ...args,
  );
}

before(async () => {
  if (skip !== false) return;
  fresh = await makeKubeadmRoot();
});
after(async () => {
  if (fresh !== '') await rm(fresh, { recursive: true });
});

/** What is done to a fresh tree, and the exit code of nodecertd. */
const trees = [
  ['a fresh tree', [], 0],
  ['a tree without ca.key', ['pki/ca.key'], 0],
  ['a tree without a leaf and a kubeconfig', ['pki/apiserver.crt', 'scheduler.conf'], 4],
  ['a tree without the CA of the front proxy', ['pki/front-proxy-ca.key'], 0],
  ['a tree of a node that joined', ['super-admin.conf'], 0],
] as const;

describe('certs check-expiration beside kubeadm', { skip }, () => {
  for (const [what, removed, code] of trees) {
    it(`-o kubeadm has the bytes of kubeadm for ${what}`, async () => {
      await using tree = await changed(removed);
      const theirs = await kubeadm(tree.root, 'certs', 'check-expiration', '-o', 'json');
      const { code: exit, stdout, stderr } = await ours(tree.root, '-o', 'kubeadm');
      assert.deepEqual([exit, stderr], [code, '']);
      assert.equal(withoutSeconds(stdout), withoutSeconds(theirs));
      const residual = residualTimes(theirs);
      for (const [at, seconds] of residualTimes(stdout).entries()) {
        const difference = (residual[at] ?? 0) - seconds;
        assert.ok(difference >= 0 && difference < 120, `${difference} s later`);
      }
    });

    it(`shows the tables of kubeadm for ${what}`, async () => {
      await using tree = await changed(removed);
      const theirs = await kubeadm(tree.root, 'certs', 'check-expiration');
      const { stdout } = await ours(tree.root);
      const lines = stdout.split('\n');
      for (const line of theirs.split('\n').filter(isRow)) {
        const cells = line.trim().split(/ {3,}/);
        // Only the first control-plane node has this kubeconfig.
        if (line.startsWith('!MISSING! super-admin.conf')) continue;
        const same = lines.find((own) => own.startsWith(cells[0] ?? ''));
        assert.deepEqual(same?.split(/ {3,}/).slice(0, cells.length), cells, line);
      }
    });
  }

  it('shows a tree for which kubeadm fails: no CA key, and a leaf of another CA', async () => {
    await using tree = await changed(['pki/ca.key']);
    const pki = join(tree.root, 'etc/kubernetes/pki');
    await cp(join(pki, 'front-proxy-client.crt'), join(pki, 'apiserver.crt'));
    await assert.rejects(kubeadm(tree.root, 'certs', 'check-expiration'));
    const { code, stdout } = await ours(tree.root);
    assert.equal(code, 4);
    assert.match(stdout, /^apiserver: \S+apiserver\.key belongs to another certificate$/m);
    assert.match(stdout, /^front-proxy-ca .* ok$/m);
  });
});

async function changed(
  removed: readonly string[],
): Promise<AsyncDisposable & { readonly root: string }> {
  const root = await mkdtemp(join(tmpdir(), 'nodecertd-kubeadm-'));
  await cp(fresh, root, { recursive: true });
  for (const path of removed) await rm(join(root, 'etc/kubernetes', path));
  return { root, [Symbol.asyncDispose]: async () => rm(root, { recursive: true }) };
}

function isRow(line: string): boolean {
  return line.trim() !== '';
}

const residual = /("residualTime": )(-?\d+)/g;

function withoutSeconds(json: string): string {
  return json.replace(residual, '$1…');
}

function residualTimes(json: string): number[] {
  return [...json.matchAll(residual)].map(([, , seconds]) => Number(seconds));
}
