import { AgentError, describeError } from '../../core/errors.ts';
import type { KubeconfigEntry, KubeconfigSource } from '../../kube/kubeconfig-certificates.ts';
import { kubeconfigEntries } from '../../kube/kubeconfig-certificates.ts';
import { openKubeconfig } from '../../kube/kubeconfig.ts';
import type { FileReading } from './certificate-file.ts';
import { readCertificates } from './certificate-file.ts';
import type { InventoryCertificate } from './certificate.ts';
import type { KeyState } from './key-check.ts';
import { checkKeyFile, compareKey } from './key-check.ts';
import type { KubeadmCertificate } from '../layout.ts';
import type { ScanRecord } from './scan-record.ts';
import { chainOf, leafOf } from './scan-record.ts';
import type { Gap, Sighting } from './sighting.ts';

/**
 * Adds the client certificates and CAs of every user and cluster of a kubeconfig, embedded or
 * named.
 * @param known a kubeconfig that kubeadm creates, which has to exist
 */
export async function addKubeconfig(
  record: ScanRecord,
  path: string,
  known?: KubeadmCertificate,
): Promise<void> {
  if (record.take(path)) await addKubeconfigEntries(record, path, known);
}

/** The same for a path that the record has taken already. */
export async function addKubeconfigEntries(
  record: ScanRecord,
  path: string,
  known?: KubeadmCertificate,
): Promise<void> {
  const gap = gapOf(path, known);
  try {
    const { entries, problems } = kubeconfigEntries(await openKubeconfig(path));
    for (const entry of entries) await addEntry(record, { path, entry, known });
    // Without a current context, programs use no entry of the file.
    for (const reason of problems) record.addGap({ ...gap, state: 'unreadable', reason });
    if (known !== undefined) noteOtherCredential(record, known, entries);
  } catch (error) {
    const isMissing = error instanceof AgentError && error.code === 'KUBECONFIG_MISSING';
    if (!isMissing) record.addGap({ ...gap, state: 'unreadable', reason: reasonOf(error, path) });
    else if (known !== undefined) {
      record.addGap({ ...gap, state: 'missing', reason: 'does not exist' });
    }
  }
}

function gapOf(path: string, known: KubeadmCertificate | undefined): Omit<Gap, 'state' | 'reason'> {
  const usedBy = usesOf(known);
  if (known === undefined) return { name: path, section: 'other', place: { path }, usedBy };
  const { name, authority } = known;
  return { name, section: 'certificate', place: { path }, usedBy, authority };
}

function usesOf(known: KubeadmCertificate | undefined): { component: string }[] {
  return (known?.usedBy ?? []).map(({ component }) => ({ component }));
}

/** A kubeconfig of kubeadm may have another credential. Then it has no row, and NOT LISTED names it. */
function noteOtherCredential(
  record: ScanRecord,
  { name }: KubeadmCertificate,
  entries: readonly KubeconfigEntry[],
): void {
  const user = entries.find(({ kind, isCurrent }) => kind === 'user' && isCurrent);
  if (user !== undefined && (user.certificate ?? user.problem ?? user.credential) !== undefined) {
    return;
  }
  record.skip(name, 'has no client certificate');
}

interface EntryOfFile {
  readonly path: string;
  readonly entry: KubeconfigEntry;
  readonly known: KubeadmCertificate | undefined;
}

async function addEntry(record: ScanRecord, { path, entry, known }: EntryOfFile): Promise<void> {
  const { kind, certificate: source, isCurrent, problem, credential } = entry;
  const kubeadm = kind === 'user' && isCurrent ? known : undefined;
  const name = kubeadm?.name ?? `${path} (${kind} ${entry.name})`;
  const place = { path, entry: `${kind} ${entry.name}` };
  const gap = { ...gapOf(path, kubeadm), name, place };
  if (problem !== undefined) {
    const reason = withoutPath(problem, path);
    return record.addGap({ ...gap, state: 'unreadable', reason });
  }
  if (credential !== undefined) record.skip(name, `authenticates with ${credential}`);
  if (source === undefined) return;
  const content = await contentOf(record, source);
  if (content.kind !== 'read') {
    const reason =
      source.kind === 'file' ? `names ${source.shown}, which ${content.reason}` : content.reason;
    return record.addGap({ ...gap, state: 'unreadable', reason });
  }
  const leaf = leafOf(content);
  const key = kind === 'user' ? keyOf(entry, leaf) : undefined;
  const { certificates } = content;
  for (const [at, certificate] of certificates.entries()) {
    const position = certificates.length === 1 ? '' : `, ${at + 1} of ${certificates.length}`;
    const common = { certificate, usedBy: gap.usedBy };
    if (certificate === leaf) {
      const user = key !== undefined && { key, ...chainOf(content) };
      record.add({
        ...common,
        name,
        section: gap.section,
        place,
        ...user,
        ...managed(source, kubeadm),
      });
    } else {
      const entryPlace = { path, entry: `${place.entry}${position}` };
      const title = `${path} (${entryPlace.entry})`;
      record.add({ ...common, name: title, section: 'other', place: entryPlace });
    }
  }
}

async function contentOf(record: ScanRecord, source: KubeconfigSource): Promise<FileReading> {
  if (source.kind === 'file') {
    return record.read(source.path);
  }
  const content = readCertificates(source.bytes);
  const path = '';
  if (typeof content === 'string') {
    return { kind: 'unreadable', path, reason: `embeds data that ${content}` };
  }
  return { kind: 'read', path, changedAt: 0, ...content };
}

function keyOf({ key }: KubeconfigEntry, leaf: InventoryCertificate): KeyState {
  if (key === undefined) return { present: false };
  if (key.kind === 'data') return compareKey(key.bytes, leaf);
  return { ...checkKeyFile(key.path, leaf), path: key.shown };
}

function managed(
  source: KubeconfigSource,
  known: KubeadmCertificate | undefined,
): Pick<Sighting, 'managedBy' | 'authority' | 'reload'> {
  if (known === undefined) return {};
  // client-go 1.36 and newer reloads a certificate that the kubeconfig names as a file.
  const reload = source.kind === 'file' ? 'automatic' : known.usedBy[0]?.reload;
  return { managedBy: 'kubeadm', authority: known.authority, ...(reload && { reload }) };
}

function reasonOf(error: unknown, path: string): string {
  return withoutPath(describeError(error), path);
}

/** The row has the path already. */
function withoutPath(message: string, path: string): string {
  return message.replace(`kubeconfig ${path}`, '').replace(/^[:,]? /, '');
}
