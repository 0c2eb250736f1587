import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openssl } from '../core/openssl.ts';
import { authorityOf } from '../pki/renewal/openssl-authority.ts';
import { makeKubeadmTree } from '../pki/renewal/renewal-tree.ts';
import {
  address,
  ControlPlaneNode,
  EtcdHost,
  hostMember,
  kubectl,
  register,
  writeControlPlane,
} from './etcd-plane.ts';
import type { Report, Scenario } from './scenario.ts';
import { StaticPods } from './static-pods.ts';

/**
 * Replaces the CA of etcd with three members on other machines. The key of the new CA is never on the
 * control-plane node: the node creates a CSR, and an etcd host signs it.
 */
export const etcdExternal: Scenario = {
  name: 'etcd-external',
  isShort: true,
  async run(report) {
    const root = await mkdtemp(join(tmpdir(), 'nodecertd-external-'));
    try {
      await rollOver(root, report);
    } finally {
      await rm(root, { recursive: true, force: true });
    }
  },
};

const numbers = [1, 2, 3];

async function rollOver(root: string, report: Report): Promise<void> {
  const tree = await makeKubeadmTree(root);
  const { certificates } = tree;
  // Not on loopback, which would be a member on this node.
  const host = address;
  const members = numbers.map((number) => hostMember(number, host));
  const hosts: EtcdHost[] = [];
  for (const number of numbers) {
    hosts.push(await EtcdHost.create(number, { root, tree, members, host }));
  }
  const [first, second, third] = hosts as [EtcdHost, EtcdHost, EtcdHost];
  await using _ = { [Symbol.asyncDispose]: async () => hosts.forEach((host) => host.kill()) };
  // kubeadm creates none of these files if etcd is external.
  for (const name of ['ca.key', 'peer.crt', 'peer.key', 'server.crt', 'server.key']) {
    await rm(join(certificates, 'etcd', name));
  }
  for (const name of ['crt', 'key'])
    await rm(join(certificates, `etcd/healthcheck-client.${name}`));
  await writeControlPlane(root, tree, { external: hosts.map(({ url }) => url) });
  for (const host of hosts) host.start();
  await using pods = new StaticPods(join(tree.kubernetes, 'manifests'), root);
  await register(tree);
  report('etcd and kube-apiserver run');

  const node = new ControlPlaneNode(tree, pods, report);
  const writes: string[] = [];
  const write = async (): Promise<void> => {
    writes.push(`write-${writes.length}`);
    await kubectl(tree, 'create', 'configmap', writes.at(-1) ?? '');
  };
  const old = tree.authorities['etcd-ca'];
  const next = authorityOf({ subject: '/CN=etcd-ca 2026-11' });
  const folder = join(root, 'import');
  await mkdir(folder);
  await writeFile(join(folder, 'ca.crt'), next.certificate);
  const from = ['--import', folder];

  await node.fails('create', [], /the key of its CA stays there/);
  await node.must('create', [], ...from);
  assert.deepEqual(await readFile(join(certificates, 'etcd/ca-next.crt')), next.certificate);
  await node.refused('switch', from, /the step trust is not complete/);
  await node.must('trust', ['kube-apiserver']);
  await node.must('trust', []);
  await write();
  await node.refused('switch', [], /has not issued apiserver-etcd-client[^]*--csr-out DIR/);
  await node.fails('switch', from, /no CSR is pending/);
  const csr = await node.nodecertd('certs', 'renew', 'apiserver-etcd-client', '--csr-out', folder);
  assert.equal(csr.code, 0, csr.stderr);
  await sign(folder, { root, signer: next });
  await node.refused(
    'switch',
    from,
    /etcd at 10.99.0.11:12379 rejects certificates from the new CA/,
  );
  await first.trust([old, next]);
  await second.trust([old, next]);
  const refused = await node.refused('switch', from, /etcd at 10.99.0.11:32379 rejects/);
  assert.doesNotMatch(refused, /:[12]2379/);
  await third.trust([old, next]);
  await node.refused('finish', [], /the step switch is not complete/);
  await node.must('switch', [], ...from);
  await node.must('switch', [], '--undo');
  await node.must('switch', [], ...from);
  await node.must('switch', []);
  await write();
  await first.issue(next);
  await node.refused('finish', [], /E3 issued: etcd at 10.99.0.11:22379 serves .* from the old CA/);

  await third.trust([next]);
  await node.refused('switch', ['--undo'], /etcd at 10.99.0.11:32379 rejects .* from the old CA/);
  await third.trust([old, next]);
  await node.must('switch', [], '--undo');
  await node.refused('trust', ['--undo'], /etcd at 10.99.0.11:12379 serves .* from the new CA/);
  await first.issue(old);
  await node.must('trust', ['kube-apiserver'], '--undo');
  await write();
  await first.issue(next);
  await node.refused(
    'trust',
    [],
    /10.99.0.11:12379 serves .* which kube-apiserver .* does not trust/,
  );
  await first.issue(old);
  await node.must('trust', ['kube-apiserver']);
  await node.must('switch', [], ...from);

  for (const host of hosts) await host.issue(next);
  await node.must('finish', ['kube-apiserver']);
  await node.must('finish', ['kube-apiserver'], '--undo');
  await node.must('finish', ['kube-apiserver']);
  assert.deepEqual(await readFile(join(certificates, 'etcd/ca.crt')), next.certificate);
  for (const host of hosts) await host.trust([next]);
  await write();
  for (const name of writes) await kubectl(tree, 'get', 'configmap', name);
}

/** What an administrator does with the CSR on an etcd host, which has the key of the new CA. */
async function sign(
  folder: string,
  { root, signer }: { readonly root: string; readonly signer: ReturnType<typeof authorityOf> },
): Promise<void> {
  const [certificate, key] = [join(root, 'new-ca.crt'), join(root, 'new-ca.key')];
  await writeFile(certificate, signer.certificate);
  await writeFile(key, signer.key);
  const request = join(folder, 'apiserver-etcd-client');
  const ca = ['-CA', certificate, '-CAkey', key, '-CAcreateserial', '-copy_extensions', 'copy'];
  openssl([
    'x509',
    '-req',
    '-in',
    `${request}.csr`,
    '-out',
    `${request}.crt`,
    '-days',
    '365',
    ...ca,
  ]);
}
