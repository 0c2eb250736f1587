import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { after, before } from 'node:test';
import { day } from '../../../src/core/instant.ts';
import type { AuthorityName, KubernetesDirectories } from '../../../src/pki/layout.ts';
import {
  authorityFile,
  authorityNames,
  fileOf,
  keyFileOf,
  kubeadmCertificates,
} from '../../../src/pki/layout.ts';
import type { RenewalOptions, RenewalRequest } from '../../../src/pki/renewal/renewal.ts';
import { rolloverDirectory } from '../../../src/pki/renewal/rollover-runs.ts';
import { startRun } from '../../../src/store/run-start.ts';
import { systemClock } from '../../../src/sys/clock.ts';
import { Tree } from '../../../src/sys/tree.ts';
import { openssl } from '../../core/openssl.ts';
import { temporaryDirectory } from '../../store/pairs.ts';
import type { OpensslPair, TestKeyKind } from './openssl-authority.ts';
import { authorityOf, caExtensions, issueWithOpenssl } from './openssl-authority.ts';

/** The directories of a control-plane node, made by openssl with the names and forms of kubeadm. */
export interface KubeadmTree extends KubernetesDirectories {
  readonly authorities: Readonly<Record<AuthorityName, OpensslPair>>;
}

const subjects: Readonly<Record<string, string>> = {
  'admin.conf': '/O=kubeadm:cluster-admins/CN=kubernetes-admin',
  'super-admin.conf': '/O=system:masters/CN=kubernetes-super-admin',
  'controller-manager.conf': '/CN=system:kube-controller-manager',
  'scheduler.conf': '/CN=system:kube-scheduler',
  apiserver: '/CN=kube-apiserver',
  'apiserver-kubelet-client': '/O=kubeadm:cluster-admins/CN=kube-apiserver-kubelet-client',
  'apiserver-etcd-client': '/CN=kube-apiserver-etcd-client',
  'etcd-server': '/CN=cp1',
  'etcd-peer': '/CN=cp1',
  'etcd-healthcheck-client': '/CN=kube-etcd-healthcheck-client',
  'front-proxy-client': '/CN=front-proxy-client',
};

const altNames: Readonly<Record<string, string>> = {
  apiserver: 'DNS:cp1,DNS:kubernetes,DNS:kubernetes.default.svc,IP:10.96.0.1,IP:10.99.0.11',
  'etcd-server': 'DNS:cp1,DNS:localhost,IP:10.99.0.11,IP:127.0.0.1,IP:0:0:0:0:0:0:0:1',
  'etcd-peer': 'DNS:cp1,DNS:localhost,IP:10.99.0.11,IP:127.0.0.1,IP:0:0:0:0:0:0:0:1',
};

const authoritySubjects = {
  ca: '/CN=kubernetes',
  'etcd-ca': '/CN=etcd-ca',
  'front-proxy-ca': '/CN=front-proxy-ca',
} as const satisfies Readonly<Record<AuthorityName, string>>;

export interface TreeOptions {
  readonly key?: TestKeyKind;
  readonly caDays?: number;
}

export async function makeKubeadmTree(
  root: string,
  { key = 'P-256', caDays = 3650 }: TreeOptions = {},
): Promise<KubeadmTree> {
  const kubernetes = join(root, 'etc/kubernetes');
  const directories = { kubernetes, certificates: join(kubernetes, 'pki') };
  await mkdir(join(directories.certificates, 'etcd'), { recursive: true });
  const make = (name: AuthorityName): OpensslPair =>
    authorityOf({ subject: authoritySubjects[name], key, days: caDays, extensions: caExtensions });
  const authorities = {
    ca: make('ca'),
    'etcd-ca': make('etcd-ca'),
    'front-proxy-ca': make('front-proxy-ca'),
  };
  for (const name of authorityNames) {
    await writePair(authorityFile(name, directories), authorities[name]);
  }
  for (const entry of kubeadmCertificates) {
    const leaf = issueWithOpenssl({
      subject: subjects[entry.name] ?? '',
      key,
      extensions: leafExtensions(entry.name),
      signer: authorities[entry.authority],
    });
    const file = fileOf(entry, directories);
    if (entry.kind === 'pair') await writePair(file, leaf);
    else await writeFile(file, kubeconfigOf(authorities.ca.certificate, leaf), { mode: 0o600 });
  }
  return { ...directories, authorities };
}

function leafExtensions(name: string): string[] {
  const names = altNames[name];
  const usage =
    name === 'etcd-server' || name === 'etcd-peer'
      ? 'serverAuth,clientAuth'
      : name === 'apiserver'
        ? 'serverAuth'
        : 'clientAuth';
  return [
    'keyUsage=critical,digitalSignature,keyEncipherment',
    `extendedKeyUsage=${usage}`,
    'basicConstraints=critical,CA:FALSE',
    'authorityKeyIdentifier=keyid',
    ...(names === undefined ? [] : [`subjectAltName=${names}`]),
  ];
}

/** kubeadm writes RSA keys in PKCS #1 and EC keys in SEC 1. */
export async function writePair(file: string, { certificate, key }: OpensslPair): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, certificate, { mode: 0o644 });
  await writeFile(keyFileOf(file), traditional(key), { mode: 0o600 });
}

function traditional(key: Buffer): string {
  return openssl(['pkey', '-traditional'], key);
}

export function kubeconfigOf(ca: Buffer, { certificate, key }: OpensslPair): string {
  return `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: ${ca.toString('base64')}
    server: https://10.99.0.11:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: me
  name: me@kubernetes
current-context: me@kubernetes
kind: Config
preferences: {}
users:
- name: me
  user:
    client-certificate-data: ${certificate.toString('base64')}
    client-key-data: ${Buffer.from(traditional(key)).toString('base64')}
`;
}

/**
 * One tree for all tests of a file, for copies. Created before the first test, and deleted after the
 * last one.
 */
export function sharedTree(): KubeadmTree {
  const tree = {};
  let root = '';
  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'nodecertd-kubeadm-'));
    Object.assign(tree, await makeKubeadmTree(root));
  });
  after(async () => rm(root, { recursive: true, force: true }));
  return tree as KubeadmTree;
}

/** A copy, which takes a millisecond instead of a second. */
export async function copyOf(context: TestContext, tree: KubeadmTree): Promise<KubeadmTree> {
  return copyTo(await temporaryDirectory(context), tree);
}

export async function copyTo<T extends KubeadmTree>(root: string, tree: T): Promise<T> {
  const kubernetes = join(root, 'etc/kubernetes');
  await cp(tree.kubernetes, kubernetes, { recursive: true, preserveTimestamps: true });
  return { ...tree, kubernetes, certificates: join(kubernetes, 'pki') };
}

export function requestFor(directories: KubernetesDirectories): RenewalRequest {
  return {
    tree: new Tree('/'),
    directories,
    clock: systemClock,
    version: '0.0.0',
    signal: new AbortController().signal,
  };
}

export function optionsFor(options: Partial<RenewalOptions> = {}): RenewalOptions {
  return { selection: 'all', lifetime: { kind: 'previous' }, hostName: 'cp1', ...options };
}

export const leafLifetime = 365 * day;

/** A step of a CA rollover that was killed before its first change. */
export async function interruptStep({ kubernetes }: KubernetesDirectories): Promise<void> {
  await startRun({
    directory: rolloverDirectory({ kubernetes }),
    sequence: 1,
    now: () => systemClock.now(),
    kind: 'RolloverManifest',
    step: 'trust',
    version: '0.0.0',
    changes: [],
  });
}
