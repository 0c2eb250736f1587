import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { day, second } from '../../src/core/instant.ts';
import { makeCa, makeLeaf, writePair } from '../pki/kubeadm-tree.ts';
import type { Ended } from '../support/doctor.ts';
import { nodecertd } from '../support/doctor.ts';
import { RealKubeadmTree } from '../support/kubeadm-tree.ts';
import { skipWithoutKubeadm } from '../support/kubeadm.ts';
import { controlPlaneDirectory } from '../support/programs.ts';

/** `certs check-expiration` beside kubeadm's own, on trees that kubeadm made. */

const skip = skipWithoutKubeadm();

let fresh: RealKubeadmTree | undefined;
before(async () => {
  if (skip === false) fresh = await RealKubeadmTree.create();
});
after(async () => fresh?.[Symbol.asyncDispose]());

async function ours({ kubernetes }: RealKubeadmTree, ...args: readonly string[]): Promise<Ended> {
  const place = ['--no-dial', '--kubernetes-dir', kubernetes];
  return nodecertd('certs', 'check-expiration', ...place, ...args);
}

/** A copy of the fresh tree without these files. */
async function changed(removed: readonly string[]): Promise<RealKubeadmTree> {
  assert.ok(fresh !== undefined);
  const tree = await fresh.copy();
  for (const path of removed) await rm(join(tree.kubernetes, path));
  return tree;
}

/** The files that are removed from a fresh tree. */
const trees = [
  ['a fresh tree', []],
  ['a tree without ca.key', ['pki/ca.key']],
  ['a tree without a leaf and a kubeconfig', ['pki/apiserver.crt', 'scheduler.conf']],
  ['a tree without the CA of the front proxy', ['pki/front-proxy-ca.key']],
  ['a tree of a node that joined', ['super-admin.conf']],
] as const;

describe('certs check-expiration beside kubeadm', { skip }, () => {
  for (const [what, removed] of trees) {
    it(`-o kubeadm has the bytes of kubeadm for ${what}`, async () => {
      await using tree = await changed(removed);
      const theirs = await tree.kubeadm('certs', 'check-expiration', '-o', 'json');
      const { code, stdout, stderr } = await ours(tree, '-o', 'kubeadm');
      assert.deepEqual([code, stderr], [0, '']);
      assert.equal(withoutSeconds(stdout), withoutSeconds(theirs));
      const residual = residualTimes(theirs);
      for (const [at, seconds] of residualTimes(stdout).entries()) {
        const difference = (residual[at] ?? 0) - seconds;
        assert.ok(difference >= 0 && difference < 120, `${difference} s later`);
      }
    });

    it(`shows the tables of kubeadm for ${what}`, async () => {
      await using tree = await changed(removed);
      const theirs = await tree.kubeadm('certs', 'check-expiration');
      const { stdout } = await ours(tree);
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
    const pki = tree.certificates;
    await cp(join(pki, 'front-proxy-client.crt'), join(pki, 'apiserver.crt'));
    await assert.rejects(tree.kubeadm('certs', 'check-expiration'));
    const { code, stdout } = await ours(tree);
    assert.equal(code, 4);
    assert.match(stdout, /^apiserver: \S+apiserver\.key belongs to another certificate$/m);
    assert.match(stdout, /^front-proxy-ca .* ok$/m);
  });
});

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

/** The next run of a monthly timer, and a week. */
const horizon = 38 * day;

/** For each tree, the certificates for which kubespray renews all certificates. */
const decisions: readonly (readonly [string, readonly string[], number | undefined, string])[] = [
  ['a fresh tree', [], undefined, ''],
  ['a certificate with 20 days left', [], 20, 'apiserver'],
  ['an expired certificate', [], -5, 'apiserver'],
  ['a node that joined', ['super-admin.conf'], undefined, ''],
];

/**
 * The timer of kubespray renews everything if a certificate expires before its next run. Its
 * script of 2025 selects these certificates by residual time with the jsonpath of kubeadm. Its
 * script of 2026 reads the JSON, compares dates, ignores missing certificates, and fails if the
 * program exits with another code than 0.
 */
describe('the decision of kubespray with certs check-expiration -o kubeadm', { skip }, () => {
  for (const [what, removed, daysLeft, expected] of decisions) {
    it(`is the decision with kubeadm for ${what}`, async () => {
      await using tree = await changed(removed);
      if (daysLeft !== undefined) await replaceApiServer(tree, daysLeft);
      const { code, stdout } = await ours(tree, '-o', 'kubeadm');
      assert.equal(code, 0);
      const theirs = await tree.kubeadm('certs', 'check-expiration', '-o', 'json');
      assert.equal(byDate(stdout), byDate(theirs));
      assert.equal(byDate(stdout), expected);
      const limit = horizon / second;
      // kubeadm has fractions in this place, and kubectl whole numbers.
      const jsonpath = [
        'certs',
        'check-expiration',
        '-o',
        `jsonpath=${residualBelow(`${limit}.0`)}`,
      ];
      assert.equal(
        kubectlJsonpath(stdout, residualBelow(`${limit}`)),
        await tree.kubeadm(...jsonpath),
      );
    });
  }
});

async function replaceApiServer(tree: RealKubeadmTree, daysLeft: number): Promise<void> {
  const validity = { notBefore: Date.now() - 300 * day, notAfter: Date.now() + daysLeft * day };
  const ca = await makeCa('kubernetes', validity);
  const leaf = { ...validity, subject: 'CN=kube-apiserver', usages: ['server auth'] } as const;
  await writePair(join(tree.certificates, 'apiserver.crt'), await makeLeaf(ca, leaf));
}

function byDate(json: string): string {
  const { certificates } = JSON.parse(json) as {
    readonly certificates: readonly {
      readonly name: string;
      readonly expirationDate: string | null;
      readonly missing: boolean;
    }[];
  };
  const end = Date.now() + horizon;
  return certificates
    .filter(({ missing, expirationDate }) => !missing && Date.parse(expirationDate ?? '') < end)
    .map(({ name }) => name)
    .join(' ');
}

function residualBelow(limit: string): string {
  return `{.certificates[?(@.residualTime<${limit})].name}`;
}

/** kubeadm and kubectl have the same jsonpath (client-go, util/jsonpath). */
function kubectlJsonpath(json: string, expression: string): string {
  const kubectl = join(controlPlaneDirectory(), 'kubectl');
  // This command prints any object without an API server.
  const args = ['label', '--local', '--filename=-', 'a=b', `--output=jsonpath=${expression}`];
  return execFileSync(kubectl, args, { input: json, encoding: 'utf8' });
}
