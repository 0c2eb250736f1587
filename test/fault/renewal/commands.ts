import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { cp, readFile, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { openssl } from '../../core/openssl.ts';
import type { ExternalTree } from '../../pki/renewal/external-tree.ts';
import {
  exportFor,
  importInto,
  pendingFolder,
  pendingKey,
  signAll,
  withoutCaKeys,
} from '../../pki/renewal/external-tree.ts';
import type { Snapshot } from '../../pki/renewal/renewal-checks.ts';
import {
  filesOf,
  renewBoth,
  requireAdmin,
  requireRecovery,
  requireServer,
  rollBack,
  runsLeft,
  selection,
} from '../../pki/renewal/renewal-checks.ts';
import { makeKubeadmTree } from '../../pki/renewal/renewal-tree.ts';

/** A command that changes files, and what has to be true after it was killed. */
export interface CertsCommand {
  readonly name: string;
  /** The node that every trial copies. */
  readonly make: (root: string) => Promise<ExternalTree>;
  readonly prepare?: (tree: ExternalTree) => Promise<void>;
  readonly args: (tree: ExternalTree) => readonly string[];
  /** @param previous the files before `prepare` */
  readonly requireRecovery: (tree: ExternalTree, previous: Snapshot) => Promise<void>;
}

const unattended = ['--yes', '--restart', 'never'];

export const commands: readonly CertsCommand[] = [
  {
    name: 'certs renew',
    make: withCaKeys,
    args: () => ['renew', ...selection, '--no-verify', ...unattended],
    requireRecovery,
  },
  {
    name: 'certs rollback',
    make: withCaKeys,
    prepare: renewBoth,
    args: () => ['rollback', ...unattended],
    requireRecovery,
  },
  {
    name: 'certs renew --csr-out',
    make: async (root) => withoutCaKeys(await makeKubeadmTree(root)),
    args: ({ csrs }) => ['renew', ...selection, '--csr-out', csrs],
    requireRecovery: requireExport,
  },
  {
    name: 'certs renew --import',
    make: makeSigned,
    args: ({ signed }) => ['renew', '--import', signed, '--no-verify', ...unattended],
    requireRecovery: requireImport,
  },
];

async function withCaKeys(root: string): Promise<ExternalTree> {
  return { ...(await makeKubeadmTree(root)), csrs: '', signed: '' };
}

/** A node with pending keys, and their certificates in a folder. */
async function makeSigned(root: string): Promise<ExternalTree> {
  const tree = await withoutCaKeys(await makeKubeadmTree(root));
  await exportFor(tree, selection);
  await signAll(tree, selection);
  return tree;
}

/** No certificate has changed, and the next export has one key for each CSR. */
async function requireExport(tree: ExternalTree, previous: Snapshot): Promise<void> {
  assert.deepEqual(await filesOf(tree), previous);
  await exportFor(tree, selection);
  assert.deepEqual(await filesOf(tree), previous);
  const names = selection.toSorted();
  assert.deepEqual((await readdir(pendingFolder(tree))).sort(), endingWith('.key', names));
  // A hidden temporary file may be left. It contains no secret.
  const csrs = (await readdir(tree.csrs)).filter((name) => !name.startsWith('.'));
  assert.deepEqual(csrs.sort(), endingWith('.csr', names));
  for (const name of names) {
    const csr = ['req', '-in', join(tree.csrs, `${name}.csr`), '-noout', '-pubkey', '-verify'];
    const key = createPublicKey(await readFile(pendingKey(tree, name)));
    assert.equal(openssl(csr), key.export({ format: 'pem', type: 'spki' }));
  }
}

function endingWith(ending: string, names: readonly string[]): string[] {
  return names.map((name) => `${name}${ending}`).sort();
}

/** The next import puts the certificates in place, and a rollback the previous files. */
async function requireImport(tree: ExternalTree, previous: Snapshot): Promise<void> {
  await requireAdmin(tree);
  const crashed = `${tree.kubernetes}-crashed`;
  await cp(tree.kubernetes, crashed, { recursive: true, preserveTimestamps: true });
  await importInto(tree);
  await requireImported(tree);

  await rm(tree.kubernetes, { recursive: true });
  await rename(crashed, tree.kubernetes);
  await rollBack(tree);
  assert.deepEqual(await filesOf(tree), previous);
  assert.deepEqual(await runsLeft(tree), []);
}

async function requireImported(tree: ExternalTree): Promise<void> {
  await requireServer(tree);
  await requireAdmin(tree);
  assert.deepEqual(await readdir(pendingFolder(tree)), []);
  const signed = await readFile(join(tree.signed, 'apiserver.crt'), 'utf8');
  assert.equal(await readFile(join(tree.certificates, 'apiserver.crt'), 'utf8'), signed);
  const embedded = await readFile(join(tree.kubernetes, 'admin.conf'), 'utf8');
  const admin = await readFile(join(tree.signed, 'admin.conf.crt'));
  assert.ok(embedded.includes(admin.toString('base64')));
}
