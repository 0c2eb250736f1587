import assert from 'node:assert/strict';
import { access, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { day } from '../../../../src/core/instant.ts';
import { exportRequests } from '../../../../src/pki/renewal/request-export.ts';
import { Tree } from '../../../../src/sys/tree.ts';
import type { AnyNodeStepName, NodeStep } from '../../../../src/trust/control-plane/node-step.ts';
import { planNodeStep } from '../../../../src/trust/control-plane/node-step.ts';
import { planCreate } from '../../../../src/trust/control-plane/steps/create.ts';
import { openssl } from '../../../core/openssl.ts';
import type { OpensslPair } from '../../../pki/renewal/openssl-authority.ts';
import { authorityOf } from '../../../pki/renewal/openssl-authority.ts';
import type { KubeadmTree } from '../../../pki/renewal/renewal-tree.ts';
import { copyOf, requestFor, sharedTree } from '../../../pki/renewal/renewal-tree.ts';
import {
  changedFiles,
  contextOf,
  manifestIn,
  textIn,
  write,
  writeManifests,
  writeStep,
} from '../rollover-tree.ts';

const tree = sharedTree();
const client = 'apiserver-etcd-client';

interface ExternalNode extends KubeadmTree {
  readonly old: OpensslPair;
  readonly next: OpensslPair;
  /** The folder of --import. */
  readonly folder: string;
}

/** A node of kubeadm with external etcd. */
async function externalNode(context: TestContext): Promise<ExternalNode> {
  const copy = await copyOf(context, tree);
  await writeManifests(copy);
  await rm(manifestIn(copy, 'etcd'));
  const manifest = manifestIn(copy, 'kube-apiserver');
  const text = await readFile(manifest, 'utf8');
  const urls = 'https://10.0.0.8:2379,https://10.0.0.9:2379';
  await writeFile(manifest, text.replace(/(?<=--etcd-servers=)\S+/, urls));
  for (const name of ['ca.key', 'server.crt', 'server.key', 'peer.crt', 'peer.key']) {
    await rm(join(copy.certificates, 'etcd', name));
  }
  const next = authorityOf({ subject: '/CN=etcd-ca 2026-11' });
  const folder = join(copy.kubernetes, 'import');
  await mkdir(folder);
  await writeFile(join(folder, 'ca.crt'), next.certificate);
  return { ...copy, old: copy.authorities['etcd-ca'], next, folder };
}

async function create(node: ExternalNode, importFrom?: string): Promise<void> {
  const request = { ca: 'etcd', tree: new Tree('/'), directories: node, now: Date.now() } as const;
  const options = { lifetimeMs: 3650 * day, ...(importFrom !== undefined && { importFrom }) };
  const { task } = await planCreate(request, options);
  assert.ok(task);
  await write(task);
}

async function plan(
  node: ExternalNode,
  step: AnyNodeStepName,
  importFrom?: string,
): Promise<NodeStep> {
  const context = await contextOf(node, 'etcd');
  return planNodeStep(step, { ...context, ...(importFrom !== undefined && { importFrom }) });
}

/** The CSR of the node, signed by this CA as an administrator does it. */
async function sign(node: ExternalNode, signer: OpensslPair): Promise<void> {
  const request = requestFor(node);
  const options = { selection: [client], hostName: 'cp1', folder: node.folder };
  await exportRequests(request, options);
  const file = (name: string): string => join(node.folder, name);
  await writeFile(file('signer.crt'), signer.certificate);
  await writeFile(file('signer.key'), signer.key);
  const ca = ['-CA', file('signer.crt'), '-CAkey', file('signer.key'), '-CAcreateserial'];
  const files = ['-in', file(`${client}.csr`), '-out', file(`${client}.crt`)];
  openssl(['x509', '-req', ...files, ...ca, '-copy_extensions', 'copy']);
}

async function trusted(node: ExternalNode): Promise<void> {
  await create(node, node.folder);
  await writeStep(await plan(node, 'trust'));
}

function publicKey(file: string): string {
  return openssl(['pkey', '-in', file, '-pubout']);
}

describe('the steps of the CA of external etcd', () => {
  it('create takes the CA without its key', async (t) => {
    const node = await externalNode(t);
    await assert.rejects(create(node), { code: 'CA_EXTERNAL', message: /its CA stays there/ });
    await create(node, node.folder);
    assert.equal(await textIn(node, 'etcd/ca-next.crt'), node.next.certificate.toString());
    await assert.rejects(access(join(node.certificates, 'etcd/ca-next.key')), { code: 'ENOENT' });
  });

  it('trust writes both CAs, and restarts kube-apiserver alone', async (t) => {
    const node = await externalNode(t);
    await create(node, node.folder);
    const { tasks } = await plan(node, 'trust');
    assert.deepEqual(
      tasks.map(({ files, restart }) => [files.length, restart?.component]),
      [[1, 'kube-apiserver']],
    );
    await trusted(node);
    assert.equal(
      await textIn(node, 'etcd/ca.crt'),
      `${node.old.certificate.toString()}${node.next.certificate.toString()}`,
    );
    assert.deepEqual(changedFiles(await plan(node, 'trust')), []);
  });

  it('switch needs a certificate from the new CA, and says how to get it', async (t) => {
    const node = await externalNode(t);
    await trusted(node);
    const { obstacles, harm, tasks } = await plan(node, 'switch');
    assert.match(
      obstacles[0]?.message ?? '',
      /^the new CA has not issued apiserver-etcd-client yet/,
    );
    assert.match(obstacles[0]?.remedy ?? '', /certs renew apiserver-etcd-client --csr-out DIR/);
    assert.deepEqual([harm, tasks], [[], []]);
  });

  it('switch installs the certificate for the pending key, and restarts nothing', async (t) => {
    const node = await externalNode(t);
    await trusted(node);
    await sign(node, node.next);
    const step = await plan(node, 'switch', node.folder);
    assert.deepEqual(
      step.tasks.map(({ name, restart }) => [name, restart?.component]),
      [
        ['previous CA', undefined],
        [client, undefined],
        ['order of the CAs', undefined],
      ],
    );
    await writeStep(step);
    const ca = join(node.certificates, 'etcd/ca-next.crt');
    openssl(['verify', '-CAfile', ca, join(node.certificates, `${client}.crt`)]);
    const pending = join(node.kubernetes, '.nodecertd/pending', `${client}.key`);
    assert.equal(publicKey(join(node.certificates, `${client}.key`)), publicKey(pending));
    assert.deepEqual(changedFiles(await plan(node, 'switch')), []);
  });

  it('switch refuses a certificate from the old CA', async (t) => {
    const node = await externalNode(t);
    await trusted(node);
    await sign(node, node.old);
    await assert.rejects(plan(node, 'switch', node.folder), { code: 'CERT_UNTRUSTED' });
  });

  it('switch refuses to import without a pending CSR', async (t) => {
    const node = await externalNode(t);
    await trusted(node);
    await assert.rejects(plan(node, 'switch', node.folder), {
      code: 'PAIR_MALFORMED',
      message: /so no CSR is pending$/,
    });
  });

  it('finish leaves the new CA alone, and no file of the rollover', async (t) => {
    const node = await externalNode(t);
    await trusted(node);
    await sign(node, node.next);
    await writeStep(await plan(node, 'switch', node.folder));
    const step = await plan(node, 'finish');
    assert.deepEqual(
      step.tasks.map(({ restart }) => restart?.component),
      ['kube-apiserver'],
    );
    await writeStep(step);
    assert.equal(await textIn(node, 'etcd/ca.crt'), node.next.certificate.toString());
    for (const name of ['ca-next.crt', 'ca-previous.crt', 'ca.key', 'ca-previous.key']) {
      await assert.rejects(access(join(node.certificates, 'etcd', name)), { code: 'ENOENT' });
    }
  });

  it('abort is refused, because no key of the old CA is on the node', async (t) => {
    const node = await externalNode(t);
    await trusted(node);
    const { obstacles, tasks } = await plan(node, 'abort');
    assert.match(obstacles[0]?.remedy ?? '', /apply trust --ca etcd --undo;/);
    assert.deepEqual(tasks, []);
  });

  it('trust is refused while the key of the CA is on the node', async (t) => {
    const node = await externalNode(t);
    await create(node, node.folder);
    await writeFile(join(node.certificates, 'etcd/ca.key'), node.old.key, { mode: 0o600 });
    const { obstacles } = await plan(node, 'trust');
    assert.match(obstacles[0]?.message ?? '', /^etcd runs on other machines, and .*ca\.key has/);
  });
});
