import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { renewalLease } from '../../src/pki/unattended/renewal-lease.ts';
import type { OpensslPair } from '../pki/renewal/openssl-authority.ts';
import type { KubeadmTree } from '../pki/renewal/renewal-tree.ts';
import { makeKubeadmTree } from '../pki/renewal/renewal-tree.ts';
import { controlPlaneDirectory } from '../support/programs.ts';
import {
  address,
  ControlPlaneNode,
  delayUntilReady,
  EtcdHost,
  hostMember,
  kubectl,
  ownMember,
  register,
  writeControlPlane,
} from './etcd-plane.ts';
import type { Report, Scenario } from './scenario.ts';
import { StaticPods } from './static-pods.ts';

const run = promisify(execFile);

/**
 * Replaces the CA of etcd on one control-plane node. Real etcd and kube-apiserver run as processes, and
 * two more members of etcd stand for the other nodes, so the step has to wait for them.
 */
export const etcdMembers: Scenario = {
  name: 'etcd-members',
  isShort: true,
  async run(report) {
    const root = await mkdtemp(join(tmpdir(), 'nodecertd-etcd-'));
    try {
      await rollOver(root, report);
    } finally {
      await rm(root, { recursive: true, force: true });
    }
  },
};

async function rollOver(root: string, report: Report): Promise<void> {
  const tree = await makeKubeadmTree(root);
  const host = '127.0.0.1';
  const members = [ownMember, hostMember(2, host), hostMember(3, host)];
  const others = [
    await EtcdHost.create(2, { root, tree, members, host }),
    await EtcdHost.create(3, { root, tree, members, host }),
  ];
  await using _ = { [Symbol.asyncDispose]: async () => others.forEach((one) => one.kill()) };
  await writeControlPlane(root, tree, { members });
  await using pods = new StaticPods(join(tree.kubernetes, 'manifests'), root);
  for (const member of others) member.start();
  await register(tree);
  report('etcd and kube-apiserver run');

  const node = new ControlPlaneNode(tree, pods, report);
  await returnToOld(node, tree, others);
  await node.must('create', []);
  await node.refused('switch', [], /the step trust is not complete/);
  await node.must('trust', ['etcd', 'kube-apiserver']);
  await node.must('trust', []);
  await node.refused('switch', [], /E2 trusted: the etcd member member-2 .* rejects/);
  const next = await pairIn(join(tree.certificates, 'etcd'), 'ca-next');
  const old = tree.authorities['etcd-ca'];
  await others[0]?.trust([old, next]);
  await others[0]?.issue(next);
  await node.refused('switch', [], /E1 members: .* member-2 and member-3 reject each other/);
  await others[0]?.issue(old);
  await others[1]?.trust([old, next]);
  await node.must('switch', []);
  await node.refused('trust', ['--undo'], /the new CA has issued certificates already/);
  await node.must('switch', [], '--undo');
  await node.must('switch', []);
  await node.refused('finish', ['--clients-ok'], /E3 issued: the etcd member member-2/);
  for (const member of others) await member.issue(next);
  await node.refused('finish', [], /E4 clients/);
  await crashInFinish(node, pods, tree);
  await node.must('finish', ['etcd', 'kube-apiserver'], '--clients-ok');
  assert.deepEqual(await readFile(join(tree.certificates, 'etcd/ca.crt')), next.certificate);
  await node.must('finish', ['etcd', 'kube-apiserver'], '--undo');
  await node.must('finish', ['etcd', 'kube-apiserver'], '--clients-ok');
  const { etcd, etcdNext } = await node.reported();
  assert.deepEqual([etcd, etcdNext], [1, undefined], 'another node could not create a CA');
  await removeMember('member-3', tree);
  await node.must('create', []);
  await node.refused('trust', [], /E1 members: etcd has 2 members, .* stops all writes/);
}

/**
 * kube-apiserver starts by itself in the middle of `finish`, with the new CA alone. After the undo of
 * `finish` it would reject certificates of etcd from the old CA until it starts again.
 */
async function crashInFinish(
  node: ControlPlaneNode,
  pods: StaticPods,
  tree: KubeadmTree,
): Promise<void> {
  await node.killed('finish', ['--clients-ok'], 'etcd');
  await pods.restart('kube-apiserver');
  await delayUntilReady(tree);
  // The killed step holds it for another minute.
  await kubectl(tree, 'delete', 'lease', renewalLease.name, '--namespace', renewalLease.namespace);
  await node.must('finish', ['etcd'], '--undo');
  await node.refused('switch', ['--undo'], /kube-apiserver .* may trust only the new CA/);
  await pods.restart('kube-apiserver');
  await delayUntilReady(tree);
  await node.must('switch', [], '--undo');
  await node.must('switch', []);
}

async function removeMember(name: string, { certificates }: KubeadmTree): Promise<void> {
  const client = join(certificates, 'apiserver-etcd-client');
  const options = [
    `--endpoints=https://${address}:2379`,
    `--cacert=${join(certificates, 'etcd/ca.crt')}`,
    `--cert=${client}.crt`,
    `--key=${client}.key`,
  ];
  const etcdctl = async (...args: readonly string[]): Promise<string> =>
    (await run(join(controlPlaneDirectory(), 'etcdctl'), [...options, 'member', ...args])).stdout;
  const line = (await etcdctl('list')).split('\n').find((found) => found.includes(name)) ?? '';
  await etcdctl('remove', line.split(',')[0] ?? '');
}

/** `abort` after `switch`, after `trust` and after `create`. The node then has its first CA alone. */
async function returnToOld(
  node: ControlPlaneNode,
  { certificates, authorities }: KubeadmTree,
  others: readonly EtcdHost[],
): Promise<void> {
  const old = authorities['etcd-ca'];
  const folder = join(certificates, 'etcd');
  const [names, before] = [await readdir(folder), await pairIn(folder, 'ca')];
  await node.must('create', []);
  await node.must('trust', ['etcd', 'kube-apiserver']);
  const next = await pairIn(folder, 'ca-next');
  for (const member of others) await member.trust([old, next]);
  await node.must('switch', []);
  await node.must('abort', []);
  assert.deepEqual(await pairIn(folder, 'ca'), {
    certificate: Buffer.concat([old.certificate, next.certificate]),
    key: before.key,
  });
  await others[0]?.issue(next);
  await node.refused('abort', ['--clients-ok'], /E3 issued: the etcd member member-2/);
  await others[0]?.issue(old);
  await node.refused('abort', [], /E4 clients: .* from the new CA/);
  await node.must('abort', ['etcd', 'kube-apiserver'], '--clients-ok');
  for (const member of others) await member.trust([old]);
  await node.must('create', []);
  await node.must('trust', ['etcd', 'kube-apiserver']);
  await node.must('trust', ['etcd', 'kube-apiserver'], '--undo');
  await node.must('abort', []);
  assert.deepEqual(await pairIn(folder, 'ca'), before);
  assert.deepEqual(await readdir(folder), names);
  const { etcd, etcdNext } = await node.reported();
  assert.deepEqual([etcd, etcdNext], [1, undefined]);
}

async function pairIn(folder: string, name: string): Promise<OpensslPair> {
  return {
    certificate: await readFile(join(folder, `${name}.crt`)),
    key: await readFile(join(folder, `${name}.key`)),
  };
}
