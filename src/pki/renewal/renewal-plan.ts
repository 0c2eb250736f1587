import { AgentError } from '../../core/errors.ts';
import type { Failure } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { rotationDeadline, rotationFraction } from '../../core/schedule.ts';
import { readContent } from '../../store/file-content.ts';
import { exists } from '../../sys/exists.ts';
import type { AuthorityFile } from './authority.ts';
import { readCertificatesOf } from './certificate-chain.ts';
import { readKeyFile } from './key-file.ts';
import type { AuthorityName, KubeadmCertificate, KubernetesDirectories } from '../layout.ts';
import { authorityFile, fileOf, keyFileOf, kubeadmCertificates } from '../layout.ts';
import { refusalOf } from './refusal.ts';
import type { ItemOptions, RenewalItem } from './renewal-item.ts';
import { planItem } from './renewal-item.ts';

/** The certificates to renew: all, those past their rotation deadline, or these. */
export type Selection = 'all' | 'due' | readonly string[];

export interface PlanRequest extends ItemOptions {
  readonly selection: Selection;
  /** Part of the rotation deadline, so that the nodes of a cluster do not renew together. */
  readonly hostName: string;
  /** When a certificate is due; 70-90% of its lifetime by default. */
  readonly dueTime?: DueTime;
}

export type DueTime = (item: Pick<RenewalItem, 'entry' | 'leaf' | 'storedAt'>) => Instant;

export interface MissingCertificate {
  readonly kind: 'missing';
  readonly entry: KubeadmCertificate;
  readonly file: string;
  /** Its private key, if the key exists. */
  readonly leftKey?: string;
}

/** What happens to one certificate. */
export type PlannedCertificate =
  | { readonly kind: 'renew'; readonly item: RenewalItem }
  /** Only the program that keeps the key of the CA can renew it. */
  | { readonly kind: 'external'; readonly item: RenewalItem }
  | { readonly kind: 'not-due'; readonly item: RenewalItem; readonly deadline: Instant }
  | MissingCertificate
  /** A CSR was exported, and its certificate is not in this folder. */
  | { readonly kind: 'pending'; readonly entry: KubeadmCertificate; readonly folder: string }
  | {
      readonly kind: 'imported';
      readonly entry: KubeadmCertificate;
      /** A crash interrupted the deletion of the pending key. */
      readonly hasPendingKey: boolean;
    }
  | {
      readonly kind: 'refused';
      readonly entry: KubeadmCertificate;
      readonly file: string;
      readonly failure: Failure;
    };

/**
 * etcd first, then the clients of etcd and kube-apiserver, then kube-apiserver, then the
 * controllers. The kubeconfigs of administrators are last, so that one of them works at every
 * moment.
 */
const order: readonly string[] = [
  'etcd-server',
  'etcd-peer',
  'etcd-healthcheck-client',
  'apiserver-etcd-client',
  'apiserver-kubelet-client',
  'front-proxy-client',
  'apiserver',
  'controller-manager.conf',
  'scheduler.conf',
  'super-admin.conf',
  'admin.conf',
];

/** Reads all selected certificates, in the order in which they are renewed. Writes nothing. */
export async function planRenewal(request: PlanRequest): Promise<PlannedCertificate[]> {
  const authorities = new Map<AuthorityName, Promise<AuthorityFile>>();
  const authorityOf = (name: AuthorityName): Promise<AuthorityFile> => {
    const known = authorities.get(name) ?? readAuthority(name, request.directories);
    authorities.set(name, known);
    return known;
  };
  const planned: PlannedCertificate[] = [];
  for (const entry of selected(request.selection)) {
    planned.push(await plan(entry, request, authorityOf));
  }
  return planned;
}

/** In the order of renewal. @throws AgentError USAGE for a name that kubeadm does not use */
export function selected(selection: Selection): KubeadmCertificate[] {
  const inOrder = kubeadmCertificates.toSorted(
    (a, b) => order.indexOf(a.name) - order.indexOf(b.name),
  );
  if (typeof selection === 'string') return inOrder;
  const unknown = selection.find((name) => !order.includes(name));
  if (unknown === undefined) return inOrder.filter(({ name }) => selection.includes(name));
  throw new AgentError('USAGE', `kubeadm has no certificate ${JSON.stringify(unknown)}`, {
    remedy: `Pass one or more of: ${order.toSorted().join(', ')}`,
  });
}

async function plan(
  entry: KubeadmCertificate,
  request: PlanRequest,
  authorityOf: (name: AuthorityName) => Promise<AuthorityFile>,
): Promise<PlannedCertificate> {
  const file = fileOf(entry, request.directories);
  try {
    const item = await planItem(entry, () => authorityOf(entry.authority), request);
    if (item === undefined) return await missing(entry, file);
    const deadline = request.dueTime?.(item) ?? deadlineOf(item, request);
    const isEarly = request.selection === 'due' && request.now < deadline;
    if (isEarly) return { kind: 'not-due', item, deadline };
    return { kind: item.signer.kind === 'external' ? 'external' : 'renew', item };
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    return { kind: 'refused', entry, file, failure: refusalOf(error) };
  }
}

async function missing(entry: KubeadmCertificate, file: string): Promise<MissingCertificate> {
  const key = keyFileOf(file);
  const hasKey = entry.kind === 'pair' && (await exists(key));
  return { kind: 'missing', entry, file, ...(hasKey && { leftKey: key }) };
}

/** When a renewal is due. */
export function deadlineOf(
  { entry, leaf, storedAt }: Pick<RenewalItem, 'entry' | 'leaf' | 'storedAt'>,
  { hostName, now }: Pick<PlanRequest, 'hostName' | 'now'>,
): Instant {
  const fraction = rotationFraction(hostName, entry.name, leaf.facts.serial);
  return rotationDeadline({ ...leaf.facts, storedAt }, fraction, { now });
}

/** @throws AgentError PAIR_MALFORMED, CERT_MALFORMED, KEY_UNSUPPORTED, STORE_* */
async function readAuthority(
  name: AuthorityName,
  directories: KubernetesDirectories,
): Promise<AuthorityFile> {
  const authority = await readAuthorityFile(name, directories);
  const key = await readKeyFile(authority.keyPath);
  return { ...authority, ...(key && { key }) };
}

/** The CA without its key. @throws AgentError PAIR_MALFORMED, CERT_MALFORMED, STORE_* */
export async function readAuthorityFile(
  name: AuthorityName,
  directories: KubernetesDirectories,
): Promise<AuthorityFile> {
  const path = authorityFile(name, directories);
  const content = await readContent(path);
  if (content === undefined) {
    throw new AgentError('PAIR_MALFORMED', `the CA certificate ${path} does not exist`, {
      remedy: `Restore ${path}, or pass its folder: --cert-dir DIR`,
    });
  }
  const certificates = await readCertificatesOf(path, content.bytes);
  return { path, pem: content.bytes, certificates, keyPath: keyFileOf(path) };
}
