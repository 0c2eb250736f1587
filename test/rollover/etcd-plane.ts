import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parse, stringify } from 'yaml';
import { openssl } from '../core/openssl.ts';
import { kubeadmPods } from '../pki/components/manifests.ts';
import type { OpensslPair } from '../pki/renewal/openssl-authority.ts';
import { issueWithOpenssl } from '../pki/renewal/openssl-authority.ts';
import type { KubeadmTree } from '../pki/renewal/renewal-tree.ts';
import { writePair } from '../pki/renewal/renewal-tree.ts';
import type { Ended } from '../support/doctor.ts';
import { controlPlaneDirectory, findProgram } from '../support/programs.ts';
import { until } from '../support/until.ts';
import type { Report } from './scenario.ts';
import type { StaticPods } from './static-pods.ts';
import { startProgram } from './static-pods.ts';

const run = promisify(execFile);
export const address = '10.99.0.11';
const own = hostname();

const harm = /reject each other|kube-apiserver on this node does not trust/;

/** The node on which `nodecertd ca-rollover apply` runs. */
export class ControlPlaneNode {
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

  /** The exit code is 4 if something fails now. */
  async refused(step: string, flags: readonly string[], reason: RegExp): Promise<string> {
    const { code, stdout, stderr } = await this.#apply(step, flags);
    assert.match(stdout, reason, stderr);
    assert.equal(code, harm.test(stdout) ? 4 : 3, stdout);
    this.#report(`${step} ${flags.join(' ')} was refused`);
    return stdout;
  }

  /** The annotation that the other nodes read. */
  async reported(): Promise<Readonly<Record<string, unknown>>> {
    const path = 'jsonpath={.metadata.annotations.nodecertd\\.io/control-plane-trust}';
    const { stdout } = await kubectl(this.#tree, 'get', 'node', own, '--output', path);
    return JSON.parse(stdout) as Readonly<Record<string, unknown>>;
  }

  /** The step cannot be planned. */
  async fails(step: string, flags: readonly string[], reason: RegExp): Promise<void> {
    const { code, stderr } = await this.#apply(step, flags);
    assert.match(stderr, reason);
    assert.equal(code, 1);
    this.#report(`${step} ${flags.join(' ')} failed`);
  }

  /** The step is killed when it restarts this component. */
  async killed(step: string, flags: readonly string[], restarted: string): Promise<void> {
    const before = this.#pods.starts.get(restarted);
    const end = new AbortController();
    const ended = this.#apply(step, flags, end.signal);
    await until(`a restart of ${restarted}`, () => this.#pods.starts.get(restarted) !== before);
    end.abort();
    const { code, stdout } = await ended;
    assert.ok(Number.isNaN(code), stdout);
    this.#report(`${step} was killed`);
  }

  async #apply(step: string, flags: readonly string[], end?: AbortSignal): Promise<Ended> {
    const key = step === 'finish' && !flags.includes('--undo') ? ['--old-key', 'keep'] : [];
    return this.#run(
      ['ca-rollover', 'apply', step, '--ca', 'etcd', '--yes', ...key, ...flags],
      end,
    );
  }

  async nodecertd(...args: readonly string[]): Promise<Ended> {
    return this.#run(args);
  }

  /** @param end kills the program */
  async #run(args: readonly string[], end?: AbortSignal): Promise<Ended> {
    const { kubernetes, certificates } = this.#tree;
    const places = ['--kubernetes-dir', kubernetes, '--cert-dir', certificates];
    const program = join(import.meta.dirname, '../../src/main.ts');
    const command = [program, ...args, ...places];
    const options = { killSignal: 'SIGKILL', ...(end && { signal: end }) } as const;
    return new Promise((resolve) => {
      execFile(process.execPath, command, options, (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
      });
    });
  }
}

export interface HostedCluster {
  /** The names and the URLs for peers of all members. */
  readonly members: readonly string[];
  /** The address of all machines, which have different ports: etcd compares it with certificates. */
  readonly host: string;
}

/** A member of etcd on another machine. */
export class EtcdHost {
  readonly #number: number;
  readonly #folder: string;
  readonly #cluster: HostedCluster;
  #process: ChildProcess | undefined;

  private constructor(number: number, folder: string, cluster: HostedCluster) {
    this.#number = number;
    this.#folder = folder;
    this.#cluster = cluster;
  }

  static async create(
    number: number,
    {
      root,
      tree,
      ...cluster
    }: HostedCluster & { readonly root: string; readonly tree: KubeadmTree },
  ): Promise<EtcdHost> {
    const folder = join(root, `member-${number}`);
    await mkdir(folder);
    const host = new EtcdHost(number, folder, cluster);
    await host.issue(tree.authorities['etcd-ca']);
    await writeFile(join(folder, 'ca.crt'), tree.authorities['etcd-ca'].certificate);
    return host;
  }

  /** The URL for clients. */
  get url(): string {
    return `https://${placeOf(this.#number, this.#cluster)}379`;
  }

  start(): void {
    const peerUrl = `https://${placeOf(this.#number, this.#cluster)}380`;
    const file = (name: string): string => join(this.#folder, name);
    const flags = [
      `--name=member-${this.#number}`,
      `--data-dir=${file('data')}`,
      `--listen-client-urls=${this.url}`,
      `--advertise-client-urls=${this.url}`,
      `--listen-peer-urls=${peerUrl}`,
      `--initial-advertise-peer-urls=${peerUrl}`,
      `--initial-cluster=${this.#cluster.members.join(',')}`,
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
    await delayUntilServed(`${placeOf(this.#number, this.#cluster)}380`);
  }

  async issue(signer: OpensslPair): Promise<void> {
    const extensions = [
      'extendedKeyUsage=serverAuth,clientAuth',
      'authorityKeyIdentifier=keyid',
      `subjectAltName=IP:${this.#cluster.host}`,
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

/** As in `--initial-cluster` of etcd. */
export function hostMember(number: number, host: string): string {
  return `member-${number}=https://${placeOf(number, { host })}380`;
}

/** The beginning of the ports 2379 and 2380 of a machine. */
function placeOf(number: number, { host }: Pick<HostedCluster, 'host'>): string {
  return `${host}:${number}2`;
}

/** The member on the control-plane node. */
export const ownMember = `${own}=https://${address}:2380`;

async function addAddress(added: string): Promise<void> {
  await run(findProgram('ip') ?? 'ip', ['address', 'replace', `${added}/32`, 'dev', 'lo']);
}

/**
 * The manifests of kubeadm for etcd and kube-apiserver, with the paths of this folder.
 * @param etcd the members of etcd if one of them is on this node, or the URLs of external etcd
 */
export async function writeControlPlane(
  root: string,
  { kubernetes, certificates }: KubeadmTree,
  etcd: { readonly members: readonly string[] } | { readonly external: readonly string[] },
): Promise<void> {
  await addAddress(address);
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
  const names =
    'members' in etcd ? (['etcd', 'kube-apiserver'] as const) : (['kube-apiserver'] as const);
  for (const name of names) {
    const text = stringify(kubeadmPods[name])
      .replaceAll('/etc/kubernetes', kubernetes)
      .replaceAll('/var/lib/etcd', join(root, 'data'))
      .replaceAll('10.0.0.5', address)
      .replaceAll('--name=cp1', `--name=${own}`)
      .replace(/(?<=--etcd-servers=).*/, (before) =>
        'external' in etcd ? etcd.external.join(',') : before,
      );
    const pod = parse(text) as { spec: { containers: [{ command: string[] }] } };
    if (name === 'etcd' && 'members' in etcd) {
      pod.spec.containers[0].command.push(
        `--initial-cluster=${etcd.members.join(',')}`,
        `--initial-advertise-peer-urls=https://${address}:2380`,
        '--unsafe-no-fsync',
      );
    }
    await writeFile(join(kubernetes, 'manifests', `${name}.yaml`), stringify(pod), { mode: 0o600 });
  }
}

/** What kubeadm and the kubelet create: the rights of the administrator, and a Node that is Ready. */
export async function register(tree: KubeadmTree): Promise<void> {
  await delayUntilReady(tree);
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

export async function delayUntilReady(tree: KubeadmTree): Promise<void> {
  await until('a ready API server', async () =>
    kubectl(tree, 'get', '--raw', '/readyz').then(
      () => true,
      () => false,
    ),
  );
}

/** With the rights of an administrator. */
export async function kubectl(
  { kubernetes }: KubeadmTree,
  ...args: readonly string[]
): Promise<{ readonly stdout: string }> {
  const kubeconfig = join(kubernetes, 'super-admin.conf');
  return run(join(controlPlaneDirectory(), 'kubectl'), [`--kubeconfig=${kubeconfig}`, ...args]);
}
