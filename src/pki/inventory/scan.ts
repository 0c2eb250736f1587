import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { exists } from '../../sys/exists.ts';
import { isBelow } from '../components/mount-table.ts';
import type { KubernetesDirectories } from '../layout.ts';
import {
  authorityFile,
  authorityNames,
  fileOf,
  keyFileOf,
  kubeadmCertificates,
} from '../layout.ts';
import {
  addAuthority,
  addFile,
  addKubeletPair,
  addPair,
  certificateFilesBelow,
} from './scan-files.ts';
import { addAuthenticationConfiguration } from './scan-configurations.ts';
import { addKubeconfig, addKubeconfigEntries } from './scan-kubeconfigs.ts';
import type { NamedFile } from './scan-record.ts';
import { ScanRecord } from './scan-record.ts';
import type { Scan } from './sighting.ts';

export interface ScanRequest {
  readonly directories: KubernetesDirectories;
  /** The kubelet's certificate directory; absent without a kubelet. */
  readonly kubeletDirectory?: string | undefined;
  /** List every key pair of the kubelet, not only the current ones. */
  readonly allKubeletPairs: boolean;
  /** Kubeconfigs outside /etc/kubernetes, for example `.kube/config` of an administrator. */
  readonly kubeconfigs: readonly string[];
  /** Files that the flags of components and of the kubelet name. */
  readonly named: readonly NamedFile[];
  /** Further files to list. */
  readonly paths: readonly string[];
  /**
   * Keep the DER of the further files, for the keys, names and usages of their certificates.
   * Without it, each of thousands of files takes 1 kB less memory.
   */
  readonly keepDer: boolean;
  /** The components of the control plane that were found on this node. */
  readonly components: ReadonlySet<string>;
}

/**
 * Finds every certificate of this machine. Needs no API server and no configuration, and one bad
 * file never hides the others. A file gets its name from the first place that lists it, so the
 * places come in the order of their importance.
 */
export async function scanCertificates(request: ScanRequest): Promise<Scan> {
  const { directories, kubeconfigs, named, paths, keepDer } = request;
  const record = new ScanRecord(named);
  await addKubeadmFiles(record, request);
  await addKubeletPairs(record, request);
  const names = await readdir(directories.kubernetes).catch(() => []);
  const own = names.filter((name) => name.endsWith('.conf')).toSorted();
  const others = named.filter(({ kind }) => kind === 'kubeconfig').map(({ path }) => path);
  for (const path of [...own.map((name) => join(directories.kubernetes, name)), ...kubeconfigs]) {
    await addKubeconfig(record, path);
  }
  for (const path of others) await addKubeconfig(record, path);
  for (const { path, kind } of named) {
    if (kind === 'certificate' || kind === 'authority') {
      await addFile(record, path, { isExpected: true });
    }
    if (kind === 'authentication-config') await addAuthenticationConfiguration(record, path);
  }
  for (const path of await certificateFilesBelow(directories.certificates, maxDepth)) {
    await addFile(record, path, { isExpected: false });
  }
  for (const path of paths) {
    const addKubeconfig = (): Promise<void> => addKubeconfigEntries(record, path);
    await addFile(record, path, { isExpected: true, keepDer, addKubeconfig });
  }
  return record.result();
}

const maxDepth = 3;

async function addKubeadmFiles(record: ScanRecord, request: ScanRequest): Promise<void> {
  const { directories } = request;
  const expected = await expectedNames(request);
  for (const name of authorityNames) {
    const path = authorityFile(name, directories);
    if (expected.has(name) || (await exists(path))) await addAuthority(record, path, name);
  }
  for (const certificate of kubeadmCertificates) {
    const path = fileOf(certificate, directories);
    if (!expected.has(certificate.name) && !(await exists(path))) continue;
    if (certificate.kind === 'pair') await addPair(record, path, certificate);
    else await addKubeconfig(record, path, certificate);
  }
}

/**
 * The names of what kubeadm creates on a node of this kind. A worker has only ca.crt, and a
 * control plane that another installer created may have nothing in these folders. With an external
 * etcd, kubeadm creates no certificates of etcd. Only the first control-plane node has
 * super-admin.conf.
 */
async function expectedNames(request: ScanRequest): Promise<ReadonlySet<string>> {
  const { directories, components, named } = request;
  const signs = [
    keyFileOf(authorityFile('ca', directories)),
    join(directories.certificates, 'apiserver.crt'),
    join(directories.certificates, 'apiserver.key'),
    join(directories.kubernetes, 'controller-manager.conf'),
  ];
  const found = await Promise.all(signs.map(exists));
  const isNamed = named.some(
    ({ component, path }) =>
      component === 'kube-apiserver' && isBelow(path, directories.certificates),
  );
  if (!found.includes(true) && !isNamed) return new Set();
  const hasEtcd = !components.has('kube-apiserver') || components.has('etcd');
  const all = [
    ...authorityNames.map((name) => ({ name, authority: name })),
    ...kubeadmCertificates.filter(({ name }) => name !== 'super-admin.conf'),
  ];
  const here = all.filter(({ authority }) => authority !== 'etcd-ca' || hasEtcd);
  return new Set(here.map(({ name }) => name));
}

async function addKubeletPairs(record: ScanRecord, request: ScanRequest): Promise<void> {
  const { kubeletDirectory, allKubeletPairs } = request;
  if (kubeletDirectory === undefined) return;
  const found: string[] = await readdir(kubeletDirectory).catch(() => []);
  const names = found.toSorted();
  const current = names.filter((name) => /-current\.pem$|^kubelet\.crt$/.test(name));
  const all = allKubeletPairs ? names.filter((name) => /\.(?:pem|crt)$/.test(name)) : [];
  for (const file of [...current, ...all]) {
    const name = file.replace(/\.(?:pem|crt)$/, '').replace(/-current$/, '');
    await addKubeletPair(record, join(kubeletDirectory, file), name);
  }
}
