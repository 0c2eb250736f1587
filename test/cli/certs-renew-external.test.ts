import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Matcher } from '../fault/keys/matcher.ts';
import { needlesOf } from '../fault/keys/needles.ts';
import type { ExternalTree } from '../pki/renewal/external-tree.ts';
import { externalTree, filesOf, pendingKey, sign } from '../pki/renewal/external-tree.ts';
import type { KubeadmTree } from '../pki/renewal/renewal-tree.ts';
import { sharedTree } from '../pki/renewal/renewal-tree.ts';
import type { Ended } from '../support/doctor.ts';
import { nodecertd } from '../support/doctor.ts';

const model = sharedTree();

async function renew({ kubernetes }: KubeadmTree, ...args: readonly string[]): Promise<Ended> {
  return nodecertd('certs', 'renew', ...args, '--kubernetes-dir', kubernetes);
}

function rowsOf({ stdout }: Ended): readonly Readonly<Record<string, unknown>>[] {
  const { certificates } = JSON.parse(stdout) as {
    readonly certificates: readonly Readonly<Record<string, unknown>>[];
  };
  return certificates;
}

/** Fails if a text has a part of a key in any encoding. */
function requireNoKey(keys: readonly string[], texts: readonly string[]): void {
  const matcher = new Matcher();
  for (const pem of keys) matcher.add(needlesOf('pending', createPrivateKey(pem)));
  const partsIn = (text: string): string[] =>
    matcher.search(Buffer.from(text)).map(({ needle }) => needle.form);
  for (const pem of keys) assert.notDeepEqual(partsIn(pem), []);
  for (const text of texts) assert.deepEqual(partsIn(text), []);
}

async function signFor({ authorities, csrs, signed }: ExternalTree, name: string): Promise<void> {
  const certificate = sign(join(csrs, `${name}.csr`), authorities.ca);
  await writeFile(join(signed, `${name}.crt`), certificate);
}

describe('nodecertd certs renew with an external CA', () => {
  it('--csr-out and --import renew, and show no key', async (context) => {
    const tree = await externalTree(context, model);
    const selection = ['apiserver', 'admin.conf'];
    const outputs: Ended[] = [];
    outputs.push(await renew(tree, ...selection, '--csr-out', tree.csrs));
    const [exported] = outputs;
    assert.equal(exported?.stderr, '');
    assert.equal(exported.code, 0);
    assert.match(exported.stdout, /^apiserver +\S+Z +ECDSA P-256, new key +\S+\/apiserver\.csr$/m);
    assert.match(exported.stdout, /^2 CSRs created\. [\s\S]+ nodecertd certs renew --import DIR$/m);
    const keys = await Promise.all(
      selection.map((name) => readFile(pendingKey(tree, name), 'utf8')),
    );
    for (const name of selection) await signFor(tree, name);
    outputs.push(
      await renew(tree, ...selection, '--csr-out', tree.csrs, '-o', 'json'),
      await renew(tree, '--import', tree.signed, '--dry-run'),
      await renew(tree, '--import', tree.signed, '--yes', '--no-verify', '-o', 'json'),
    );
    const [, again, planned, imported] = outputs;
    assert.ok(again && planned && imported);
    assert.deepEqual(
      rowsOf(again).map(({ key }) => (key as { source: string }).source),
      ['pending', 'pending'],
    );
    assert.match(
      planned.stdout,
      /^admin\.conf +renew +\S+Z +\S+Z +ECDSA P-256 +\S+\/pki\/ca\.crt$/m,
    );
    assert.equal(imported.code, 3);
    const { backup } = JSON.parse(imported.stdout) as { backup: string };
    const [row] = rowsOf(imported);
    assert.deepEqual(
      [row?.['state'], row?.['importedFrom']],
      ['renewed', join(tree.signed, 'apiserver.crt')],
    );
    const plan = await readFile(join(backup, 'plan.json'), 'utf8');
    const manifest = await readFile(join(backup, 'manifest.json'), 'utf8');
    const csrs = await Promise.all(
      selection.map((name) => readFile(join(tree.csrs, `${name}.csr`), 'utf8')),
    );
    const texts = outputs.flatMap(({ stdout, stderr }) => [stdout, stderr]);
    requireNoKey(keys, [...texts, ...csrs, plan, manifest]);
    assert.equal(await readFile(join(tree.certificates, 'apiserver.key'), 'utf8'), keys[0]);
  });

  it('--csr-out --dry-run writes nothing', async (context) => {
    const tree = await externalTree(context, model);
    const previous = await filesOf(tree);
    const { code, stdout } = await renew(tree, '--all', '--csr-out', tree.csrs, '--dry-run');
    assert.equal(code, 0);
    assert.match(stdout, /^11 CSRs to create; nothing is changed yet$/m);
    assert.deepEqual(await filesOf(tree), previous);
    assert.ok(!(await readdir(tree.kubernetes)).includes('.nodecertd'));
    await assert.rejects(readdir(tree.csrs), /ENOENT/);
  });

  it('--csr-out asks before it replaces a pending key', async (context) => {
    const tree = await externalTree(context, model);
    const other = ['scheduler.conf', '--csr-out', tree.csrs, '--key', 'ecdsa-p384'];
    await renew(tree, 'scheduler.conf', '--csr-out', tree.csrs);
    const key = await readFile(pendingKey(tree, 'scheduler.conf'), 'utf8');
    const refused = await renew(tree, ...other);
    assert.equal(refused.code, 2);
    assert.equal(await readFile(pendingKey(tree, 'scheduler.conf'), 'utf8'), key);
    const { code, stdout } = await renew(tree, ...other, '--yes');
    assert.equal(code, 0);
    assert.match(stdout, /^scheduler\.conf .* ECDSA P-384, new key, replaces the pending key /m);
    assert.notEqual(await readFile(pendingKey(tree, 'scheduler.conf'), 'utf8'), key);
  });

  it('--import exits with 3 for a pending CSR, and with 1 for a wrong certificate', async (context) => {
    const tree = await externalTree(context, model);
    await renew(tree, 'apiserver', '--csr-out', tree.csrs);
    const pending = await renew(tree, '--import', tree.signed, '--yes');
    assert.equal(pending.code, 3);
    assert.match(pending.stdout, /^apiserver +CSR pending\b/m);
    assert.match(
      pending.stdout,
      /has no certificate for it \(apiserver\.crt or apiserver\.pem\)\n {4}→ Have the CA sign/,
    );
    assert.equal((await renew(tree, 'apiserver', '--import', tree.signed, '--yes')).code, 1);
    const wrong = join(tree.certificates, 'apiserver-etcd-client.crt');
    await writeFile(join(tree.signed, 'apiserver.crt'), await readFile(wrong));
    const refused = await renew(tree, '--import', tree.signed, '--yes');
    assert.equal(refused.code, 1);
    assert.match(refused.stdout, /apiserver\.crt is for another key: its public key is SHA-256 /);
  });

  it('names --csr-out as the remedy for a certificate of an external CA', async (context) => {
    const tree = await externalTree(context, model);
    const { code, stdout } = await renew(tree, 'apiserver', '--yes');
    assert.equal(code, 3);
    assert.match(stdout, /→ Create a CSR .*: nodecertd certs renew apiserver --csr-out DIR$/m);
  });

  const wrong = [
    [['--csr-out', '/x'], /pass either names, or --all, or --due/],
    [['--all', '--csr-out', '/x', '--import', '/x'], /--csr-out and --import exclude each other/],
    [['--all', '--import', '/x'], /--import takes the certificates that are in its folder/],
    [['--import', '/x', '--key', 'ed25519'], /--key belongs to --csr-out/],
    [['--import', '/x', '--lifetime', '90d'], /an external CA chooses the --lifetime itself/],
    [['--all', '--csr-out', '/x', '--no-verify'], /--csr-out replaces no certificate/],
    [['--import', '/no/such'], /there is no folder \/no\/such/],
  ] as const;
  for (const [args, message] of wrong) {
    it(`${args.join(' ')} exits with 2`, async () => {
      const { code, stderr } = await renew(model, ...args);
      assert.equal(code, 2);
      assert.match(stderr, message);
    });
  }
});
