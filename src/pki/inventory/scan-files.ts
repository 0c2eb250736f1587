import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { exists } from '../../sys/exists.ts';
import type { CertificateFile } from './certificate-file.ts';
import { CertificateOnDisk } from './certificate-on-disk.ts';
import type { InventoryCertificate } from './certificate.ts';
import type { KeyState } from './key-check.ts';
import { checkKeyFile } from './key-check.ts';
import type { AuthorityName, KubeadmCertificate } from '../layout.ts';
import { keyFileOf } from '../layout.ts';
import type { ScanRecord } from './scan-record.ts';
import { chainOf, leafOf, placeIn } from './scan-record.ts';

/** Adds the certificates of a CA file of kubeadm. During a CA rollover there are two. */
export async function addAuthority(
  record: ScanRecord,
  path: string,
  name: AuthorityName,
): Promise<void> {
  const reading = await record.read(path);
  const gap = { name, section: 'authority', place: { path }, usedBy: [] } as const;
  if (reading.kind !== 'read') return record.addFailure(reading, gap);
  record.take(path);
  const external = !(await exists(keyFileOf(path)));
  const { certificates } = reading;
  for (const [at, certificate] of certificates.entries()) {
    record.add({
      name: at === 0 ? name : `${name} (${at + 1} of ${certificates.length})`,
      section: 'authority',
      place: placeIn(reading, at),
      certificate,
      usedBy: record.usesOf(reading),
      managedBy: 'kubeadm',
      external,
    });
  }
  record.addProblems(reading);
}

/** Adds a certificate of kubeadm with its key file, and the intermediates in its file. */
export async function addPair(
  record: ScanRecord,
  path: string,
  { name, authority, usedBy }: KubeadmCertificate,
): Promise<void> {
  const reading = await record.read(path);
  const known = usedBy.map(({ component }) => ({ component }));
  if (reading.kind !== 'read') {
    const gap = {
      name,
      section: 'certificate',
      place: { path },
      usedBy: known,
      authority,
    } as const;
    const key = keyFileOf(path);
    return record.addFailure(reading, { ...gap, ...((await exists(key)) && { leftKey: key }) });
  }
  record.take(path);
  const leaf = leafOf(reading);
  const uses = record.usesOf(reading);
  const [usage] = usedBy;
  record.add({
    name,
    section: 'certificate',
    place: placeIn(reading, reading.certificates.indexOf(leaf)),
    certificate: leaf,
    usedBy: uses.length > 0 ? uses : known,
    ...(usage && { reload: usage.reload }),
    managedBy: 'kubeadm',
    key: checkKeyFile(keyFileOf(path), leaf),
    authority,
    ...chainOf(reading),
  });
  addRest(record, reading, leaf);
  record.addProblems(reading);
}

/** Adds a key pair of the kubelet: certificate and key in one file, or `kubelet.crt` and `kubelet.key`. */
export async function addKubeletPair(
  record: ScanRecord,
  path: string,
  name: string,
): Promise<void> {
  if (!record.take(path)) return;
  const reading = await record.read(path);
  const gap = { name, section: 'kubelet', place: { path }, usedBy: [] } as const;
  if (reading.kind !== 'read') return record.addFailure(reading, gap);
  const leaf = leafOf(reading);
  record.add({
    name,
    section: 'kubelet',
    place: placeIn(reading, reading.certificates.indexOf(leaf)),
    certificate: leaf,
    usedBy: [{ component: 'kubelet' }],
    reload: 'automatic',
    managedBy: 'kubelet',
    key: checkKeyFile(reading.hasKey ? path : keyFileOf(path), leaf),
    ...chainOf(reading),
  });
  addRest(record, reading, leaf);
  record.addProblems(reading);
}

/**
 * Adds any other file.
 * @param isExpected a flag or the administrator names it, so it has to exist
 * @param keepDer as in ScanRequest
 */
export async function addFile(
  record: ScanRecord,
  path: string,
  {
    isExpected,
    keepDer = true,
    addKubeconfig,
  }: {
    readonly isExpected: boolean;
    readonly keepDer?: boolean;
    /** Called if the file is a kubeconfig; by default it is then a file without a certificate. */
    readonly addKubeconfig?: () => Promise<void>;
  },
): Promise<void> {
  if (!record.take(path)) return;
  const reading = await record.read(path);
  const usedBy = record.usesOf({ path });
  const gap = { name: path, section: 'other', place: { path }, usedBy } as const;
  const isKubeconfig = reading.kind === 'unreadable' && reading.isKubeconfig === true;
  if (isKubeconfig && addKubeconfig !== undefined) return addKubeconfig();
  if (reading.kind === 'missing' && !isExpected) return;
  if (reading.kind !== 'read') return record.addFailure(reading, gap);
  const leaf = leafOf(reading);
  const key = leaf.isAuthority ? undefined : keyBeside(record, reading, leaf);
  const isKept = keepDer || leaf.isAuthority || reading.certificates.length > 1;
  record.add({
    name: path,
    section: 'other',
    place: placeIn(reading, reading.certificates.indexOf(leaf)),
    certificate: isKept ? leaf : new CertificateOnDisk(path, leaf),
    usedBy: record.usesOf(reading),
    ...(key && { key }),
    ...chainOf(reading),
  });
  addRest(record, reading, leaf);
  record.addProblems(reading);
}

/** Undefined without any sign of a key: most certificates outside kubeadm's places have none. */
function keyBeside(
  record: ScanRecord,
  reading: CertificateFile,
  leaf: InventoryCertificate,
): KeyState | undefined {
  const named = record.namedKeyOf(reading);
  const path = reading.hasKey ? reading.path : (named ?? keyFileOf(reading.path));
  if (path === reading.path && !reading.hasKey) return undefined;
  if (named === undefined && !reading.hasKey && !record.mayExist(path)) return undefined;
  const key = checkKeyFile(path, leaf);
  return key.present || named !== undefined ? key : undefined;
}

/** The other certificates of a file, such as the intermediates after a leaf. */
function addRest(record: ScanRecord, reading: CertificateFile, leaf: InventoryCertificate): void {
  const { path, certificates } = reading;
  for (const [at, certificate] of certificates.entries()) {
    if (certificate === leaf) continue;
    record.add({
      name: `${path} (${at + 1} of ${certificates.length})`,
      section: 'other',
      place: placeIn(reading, at),
      certificate,
      usedBy: record.usesOf(reading),
    });
  }
}

/** Files with the usual extensions, up to this many levels deep. Skips hidden names, such as backups. */
export async function certificateFilesBelow(directory: string, levels: number): Promise<string[]> {
  if (levels === 0) return [];
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
  const files: string[] = [];
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.name.startsWith('.')) continue;
    const path = join(directory, entry.name);
    if (/\.(?:crt|pem|cer)$/.test(entry.name)) files.push(path);
    else if (entry.isDirectory()) files.push(...(await certificateFilesBelow(path, levels - 1)));
  }
  return files;
}
