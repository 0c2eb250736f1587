import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parse, stringify } from 'yaml';
import { openssl } from '../core/openssl.ts';
import { kubeadmPods } from '../pki/components/manifests.ts';
import type { OpensslPair } from '../pki/renewal/openssl-authority.ts';
import { issueWithOpenssl } from '../pki/renewal/openssl-authority.ts';
import type { KubeadmTree } from '../pki/renewal/renewal-tree.ts';
import { makeKubeadmTree, writePair } from '../pki/renewal/renewal-tree.ts';
import type { Ended } from '../support/doctor.ts';
import { controlPlaneDirectory, findProgram } from '../support/programs.ts';
import { until } from '../support/until.ts';
import type { Report, Scenario } from './scenario.ts';
import { startProgram, StaticPods } from './static-pods.ts';

const run = promisify(execFile);
const address = '10.99.0.11';
const own = hostname();

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
  await run(findProgram('ip') ?? 'ip', ['address', 'add', `${address}/32`, 'dev', 'lo']);
  const tree = await makeKubeadmTree(root);
  const others = [await OtherMember.create(root, tree, 2), await OtherMember.create(root, tree, 3)];
  await using _ = { [Symbol.asyncDispose]: async () => others.forEach((one) => one.kill()) };
  await writeControlPlane(root, tree);
  await using pods = new StaticPods(join(tree.kubernetes, 'manifests'), root);
  for (const member of others) member.start();
  await register(tree);
  report('etcd and kube-apiserver run');

  const node = new Node(tree, pods, report);
  await node.must('create', []);
  await node.refused('switch', [], /the step trust is not complete/);
  await node.must('trust', ['etcd', 'kube-apiserver']);
  await node.must('trust', []);
  await node.refused('switch', [], /E2 trusted: the etcd member member-2 .* rejects/);
  const next = {
    certificate: await readFile(join(tree.certificates, 'etcd/ca-next.crt')),
    key: await readFile(join(tree.certificates, 'etcd/ca-next.key')),
  };
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
  await node.must('finish', ['etcd', 'kube-apiserver'], '--clients-ok');
  assert.deepEqual(await readFile(join(tree.certificates, 'etcd/ca.crt')), next.certificate);
  await node.must('finish', ['etcd', 'kube-apiserver'], '--undo');
  await node.must('finish', ['etcd', 'kube-apiserver'], '--clients-ok');
  const { etcd, etcdNext } = await node.reported();
  assert.deepEqual([etcd, etcdNext], [1, undefined], 'another node could not create a CA');
}

/** The node on which `nodecertd ca-rollover apply` runs. */
class Node {
  readonly #tree: KubeadmTree;
  readonly #pods: StaticPods;
  readonly #report: Report;

  constructor(tree: KubeadmTree, pods: StaticPods, report: Report) {
    this.#tree = tree;
    this.#pods = pods;
    this.#report = report;
  }

  /** @param restarted the components that the step restarts once */
  async must(
    step: string,
    restarted: readonly string[],
    ...flags: readonly string[]
  ): Promise<void> {
    const before = new Map(this.#pods.starts);
    const began = performance.now();
    const { code, stdout, stderr } = await this.#apply(step, flags);
    assert.equal(code, 0, `${step} ${flags.join(' ')}: ${stdout}${stderr}`);
    const found = [...this.#pods.starts].flatMap(([name, count]) =>
      Array.from({ length: count - (before.get(name) ?? 0) }, () => name),
    );
    assert.deepEqual(found.toSorted(), restarted.toSorted());
    const seconds = ((performance.now() - began) / 1_000).toFixed(1);
    this.#report(`${step} ${flags.join(' ')}: ${seconds} s`);
  }

  /** The exit code is 4 if members reject each other. */
  async refused(step: string, flags: readonly string[], reason: RegExp): Promise<void> {
    const { code, stdout, stderr } = await this.#apply(step, flags);
    assert.match(stdout, reason, stderr);
    assert.equal(code, stdout.includes('reject each other') ? 4 : 3, stdout);
    this.#report(`${step} ${flags.join(' ')} was refused`);
  }

  /** The annotation that the other nodes read. */
  async reported(): Promise<Readonly<Record<string, unknown>>> {
    const path = 'jsonpath={.metadata.annotations.nodecertd\\.io/control-plane-trust}';
    const { stdout } = await kubectl(this.#tree, 'get', 'node', own, '--output', path);
    return JSON.parse(stdout) as Readonly<Record<string, unknown>>;
  }

  async #apply(step: string, flags: readonly string[]): Promise<Ended> {
    const { kubernetes, certificates } = this.#tree;
    const key = step === 'finish' && !flags.includes('--undo') ? ['--old-key', 'keep'] : [];
    const args = ['ca-rollover', 'apply', step, '--ca', 'etcd', '--yes', ...key, ...flags];
    const places = ['--kubernetes-dir', kubernetes, '--cert-dir', certificates];
    const program = join(import.meta.dirname, '../../src/main.ts');
    return new Promise((resolve) => {
      execFile(process.execPath, [program, ...args, ...places], (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
      });
    });
  }
}

/** A member on another node: etcd alone. */
class OtherMember {
  readonly #number: number;
  readonly #folder: string;
  #process: ChildProcess | undefined;

  private constructor(number: number, folder: string) {
    this.#number = number;
    this.#folder = folder;
  }

  static async create(root: string, tree: KubeadmTree, number: number): Promise<OtherMember> {
    const folder = join(root, `member-${number}`);
    await mkdir(folder);
    const member = new OtherMember(number, folder);
    await member.issue(tree.authorities['etcd-ca']);
    await writeFile(join(folder, 'ca.crt'), tree.authorities['etcd-ca'].certificate);
    return member;
  }

  start(): void {
    const port = (digit: number): string => `https://127.0.0.1:${this.#number}238${digit}`;
    const file = (name: string): string => join(this.#folder, name);
    const flags = [
      `--name=member-${this.#number}`,
      `--data-dir=${file('data')}`,
      `--listen-client-urls=${port(0)}`,
      `--advertise-client-urls=${port(0)}`,
      `--listen-peer-urls=${port(1)}`,
      `--initial-advertise-peer-urls=${port(1)}`,
      `--initial-cluster=${initialCluster}`,
      '--client-cert-auth',
      '--peer-client-cert-auth',
      `--trusted-ca-file=${file('ca.crt')}`,
      `--peer-trusted-ca-file=${file('ca.crt')}`,
      ...['', 'peer-'].flatMap((kind) => [
        `--${kind}cert-file=${file('leaf.crt')}`,
        `--${kind}key-file=${file('leaf.key')}`,
      ]),
      '--unsafe-no-fsync',
    ];
    // Not the name of a component, because it stands for a process on another machine.
    const argv0 = `member-${this.#number}`;
    this.#process = startProgram('etcd', { flags, logs: this.#folder, argv0 });
  }

  /** Restarts the member with these CAs. */
  async trust(authorities: readonly OpensslPair[]): Promise<void> {
    const pem = Buffer.concat(authorities.map(({ certificate }) => certificate));
    await writeFile(join(this.#folder, 'ca.crt'), pem);
    this.#process?.kill('SIGTERM');
    if (this.#process !== undefined) await once(this.#process, 'exit');
    this.start();
    await delayUntilServed(`127.0.0.1:${this.#number}2380`);
  }

  async issue(signer: OpensslPair): Promise<void> {
    const extensions = [
      'extendedKeyUsage=serverAuth,clientAuth',
      'authorityKeyIdentifier=keyid',
      'subjectAltName=DNS:localhost,IP:127.0.0.1',
    ];
    const leaf = issueWithOpenssl({ subject: '/CN=member', extensions, signer });
    await writePair(join(this.#folder, 'leaf.crt'), leaf);
  }

  kill(): void {
    this.#process?.kill('SIGKILL');
  }
}

async function delayUntilServed(place: string): Promise<void> {
  await until(`an answer of ${place}`, async () =>
    run('openssl', ['s_client', '-connect', place], { timeout: 5_000 }).then(
      () => true,
      (error: { stdout?: string }) => error.stdout?.includes('BEGIN CERTIFICATE') === true,
    ),
  );
}

const initialCluster = [
  `${own}=https://${address}:2380`,
  'member-2=https://127.0.0.1:22381',
  'member-3=https://127.0.0.1:32381',
].join(',');

/** The manifests of kubeadm for etcd and kube-apiserver, with the paths of this folder. */
async function writeControlPlane(
  root: string,
  { kubernetes, certificates }: KubeadmTree,
): Promise<void> {
  await mkdir(join(kubernetes, 'manifests'));
  openssl(['genrsa', '-out', join(certificates, 'sa.key'), '2048']);
  openssl([
    'rsa',
    '-in',
    join(certificates, 'sa.key'),
    '-pubout',
    '-out',
    join(certificates, 'sa.pub'),
  ]);
  for (const name of ['etcd', 'kube-apiserver'] as const) {
    const text = stringify(kubeadmPods[name])
      .replaceAll('/etc/kubernetes', kubernetes)
      .replaceAll('/var/lib/etcd', join(root, 'data'))
      .replaceAll('10.0.0.5', address)
      .replaceAll('--name=cp1', `--name=${own}`);
    const pod = parse(text) as { spec: { containers: [{ command: string[] }] } };
    if (name === 'etcd') {
      pod.spec.containers[0].command.push(
        `--initial-cluster=${initialCluster}`,
        `--initial-advertise-peer-urls=https://${address}:2380`,
        '--unsafe-no-fsync',
      );
    }
    await writeFile(join(kubernetes, 'manifests', `${name}.yaml`), stringify(pod), { mode: 0o600 });
  }
}

/** What kubeadm and the kubelet create: the rights of the administrator, and a Node that is Ready. */
async function register(tree: KubeadmTree): Promise<void> {
  await until('a ready API server', async () =>
    kubectl(tree, 'get', '--raw', '/readyz').then(
      () => true,
      () => false,
    ),
  );
  const binding = ['--clusterrole=cluster-admin', '--group=kubeadm:cluster-admins'];
  await kubectl(tree, 'create', 'clusterrolebinding', 'kubeadm:cluster-admins', ...binding);
  const node = {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: own, labels: { 'node-role.kubernetes.io/control-plane': '' } },
    status: {
      addresses: [{ type: 'InternalIP', address }],
      conditions: [{ type: 'Ready', status: 'True' }],
    },
  };
  const file = join(tree.kubernetes, 'node.json');
  await writeFile(file, JSON.stringify(node));
  await kubectl(tree, 'create', '--filename', file);
}

async function kubectl(
  { kubernetes }: KubeadmTree,
  ...args: readonly string[]
): Promise<{ readonly stdout: string }> {
  const kubeconfig = join(kubernetes, 'super-admin.conf');
  return run(join(controlPlaneDirectory(), 'kubectl'), [`--kubeconfig=${kubeconfig}`, ...args]);
}
