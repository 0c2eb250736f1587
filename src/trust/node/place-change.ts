import { AgentError, toError } from '../../core/errors.ts';
import { encodeCertificates } from '../../core/pem.ts';
import { isSameBundle, unionOf } from '../../core/trust-bundle.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { withAuthority } from '../../kube/kubeconfig-authority.ts';
import { KubeconfigDocument } from '../../kube/kubeconfig-document.ts';
import type { FileContent } from '../../store/file-content.ts';
import { digestOf, readContent } from '../../store/file-content.ts';
import { linkTarget } from '../../store/link-target.ts';
import type { BackedUpChange } from '../../store/run-folder.ts';
import { exists } from '../../sys/exists.ts';
import { readPlace } from './place-content.ts';
import type { TrustPlace } from './place.ts';
import { formOf } from './place.ts';

/** The CAs that a place has to have. */
export interface TrustChange {
  readonly place: TrustPlace;
  readonly authorities: readonly TrustAuthority[];
}

/** The new content of a file. */
export interface FilePlan extends BackedUpChange {
  readonly form: 'kubeconfig' | 'pem';
  readonly after: FileContent;
}

/** True if the place has other CAs than these, or they have to move to another file. */
function isChange({ place, authorities }: TrustChange): boolean {
  const held = place.authorities.map(({ fingerprint }) => fingerprint);
  const wanted = authorities.map(({ fingerprint }) => fingerprint);
  return place.moveTo !== undefined || held.join(' ') !== wanted.join(' ');
}

/**
 * The files that get new content, PEM files before the kubeconfigs that name them. Two places may
 * share a file. A link stays, and its target is replaced.
 * @throws AgentError KUBECONFIG_UNSUPPORTED, STORE_*, and FILE_CHANGED if a place was changed since
 * it was read
 */
export async function planFiles(changes: readonly TrustChange[]): Promise<FilePlan[]> {
  const pemFiles = new Map<string, readonly TrustAuthority[]>();
  const kubeconfigs: FilePlan[] = [];
  for (const { place, authorities } of changes.filter(isChange)) {
    await requireAsRead(place);
    const { kind, path, file, moveTo } = place;
    const pemFile = moveTo ?? (formOf(kind) === 'pem' ? path : file);
    if (pemFile !== undefined) {
      const target = await linkTarget(pemFile);
      pemFiles.set(target, unionOf(pemFiles.get(target) ?? [], authorities));
    }
    if (moveTo !== undefined) kubeconfigs.push(await planKubeconfig(path, { file: moveTo }));
    else if (pemFile === undefined) {
      kubeconfigs.push(await planKubeconfig(path, { pem: encodeCertificates(authorities) }));
    }
  }
  const pems: FilePlan[] = [];
  for (const [path, authorities] of pemFiles) pems.push(await planPem(path, authorities));
  return [...pems, ...kubeconfigs];
}

/** @throws AgentError FILE_CHANGED, and the problem of a place that cannot be read anymore */
async function requireAsRead({ kind, path, authorities }: TrustPlace): Promise<void> {
  const isNew = authorities.length === 0 && !(await exists(path));
  if (isNew) return;
  const { problem, authorities: found } = await readPlace(formOf(kind), path);
  if (problem !== undefined) throw toError(problem);
  if (isSameBundle(found, authorities)) return;
  throw new AgentError('FILE_CHANGED', `another program changed ${path} during this run`, {
    remedy: 'Run this command again',
  });
}

async function planPem(path: string, authorities: readonly TrustAuthority[]): Promise<FilePlan> {
  const bytes = encodeCertificates(authorities);
  return planOf({ form: 'pem', path, before: await readContent(path), bytes });
}

async function planKubeconfig(
  path: string,
  authority: Parameters<typeof withAuthority>[2],
): Promise<FilePlan> {
  const target = await linkTarget(path);
  const before = await readContent(target);
  const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(before?.bytes);
  const edited = withAuthority(new KubeconfigDocument(path, text), text, authority);
  const bytes = new Uint8Array(Buffer.from(edited));
  return planOf({ form: 'kubeconfig', path: target, before, bytes });
}

/** The file keeps owner and mode. Every program may read a new PEM file of CAs. */
function planOf({
  form,
  path,
  before,
  bytes,
}: Pick<FilePlan, 'form' | 'path'> & {
  readonly before: FileContent | undefined;
  readonly bytes: Uint8Array<ArrayBuffer>;
}): FilePlan {
  const created = { mode: '0644', uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
  const state = { ...created, ...before?.state, sha256: digestOf(bytes) };
  return { form, path, item, ...(before && { before }), after: { bytes, state } };
}

/** All places or none: an interrupted run is completed or undone as a whole. */
const item = 'trust';
