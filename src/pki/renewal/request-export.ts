import type { KeyObject } from 'node:crypto';
import { createPublicKey } from 'node:crypto';
import { join } from 'node:path';
import type { KeyAlgorithm } from '../../core/certificate-spec.ts';
import { writeRequestInfo } from '../../core/certificate-request.ts';
import type { Failure } from '../../core/errors.ts';
import { AgentError } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { encodePem } from '../../core/pem.ts';
import { makeDirectory, replaceFile } from '../../store/atomic-file.ts';
import type { ChainCertificate } from './certificate-chain.ts';
import type { ExistingCertificate } from './existing-certificate.ts';
import { readExisting } from './existing-certificate.ts';
import type { KeyKind } from './key-file.ts';
import { describeKind, generateKey, kindOf } from './key-file.ts';
import type { KubeadmCertificate } from '../layout.ts';
import { fileOf } from '../layout.ts';
import {
  pendingKeyFile,
  preparePendingKeys,
  readPendingKey,
  storePendingKey,
} from './pending-keys.ts';
import { newKeyKind } from './renewal-item.ts';
import type { Selection } from './renewal-plan.ts';
import { deadlineOf, selected } from './renewal-plan.ts';
import { refusalOf } from './refusal.ts';
import type { RenewalRequest } from './renewal.ts';
import { directoryOf, lock } from './renewal.ts';
import { signDer } from './signature.ts';

export interface ExportOptions {
  readonly selection: Selection;
  /** The kind of the new keys; that of the previous ones if absent. */
  readonly key?: KeyAlgorithm;
  readonly hostName: string;
  /** The folder of the CSRs. */
  readonly folder: string;
}

/** The key that a CSR certifies. */
export interface RequestKey {
  /**
   * The pending key of an earlier CSR; a new one; or a new one instead of a pending one, whose CSR
   * is then useless.
   */
  readonly source: 'pending' | 'new' | 'replaced';
  readonly kind: KeyKind;
  readonly pending?: KeyObject;
  /** The file of the pending key. */
  readonly file: string;
}

export type PlannedRequest =
  | {
      readonly kind: 'request';
      readonly existing: ExistingCertificate;
      readonly key: RequestKey;
      /** The file of the CSR. */
      readonly file: string;
    }
  | {
      readonly kind: 'not-due';
      readonly existing: ExistingCertificate;
      readonly deadline: Instant;
    }
  | { readonly kind: 'missing'; readonly entry: KubeadmCertificate; readonly file: string }
  | {
      readonly kind: 'refused';
      readonly entry: KubeadmCertificate;
      readonly failure: Failure;
    };

/** Plans a CSR for each selected certificate. Needs no CA. Writes nothing, and takes no lock. */
export async function previewExport(
  request: RenewalRequest,
  options: ExportOptions,
): Promise<PlannedRequest[]> {
  const planned: PlannedRequest[] = [];
  for (const entry of selected(options.selection)) {
    planned.push(await plan(entry, request, options));
  }
  return planned;
}

async function plan(
  entry: KubeadmCertificate,
  request: RenewalRequest,
  options: ExportOptions,
): Promise<PlannedRequest> {
  const { selection, hostName, folder } = options;
  try {
    const existing = await readExisting(entry, request);
    if (existing === undefined) {
      return { kind: 'missing', entry, file: fileOf(entry, request.directories) };
    }
    const now = request.clock.now();
    const deadline = deadlineOf(existing, { hostName, now });
    if (selection === 'due' && now < deadline) return { kind: 'not-due', existing, deadline };
    const key = await chooseKey(directoryOf(request), existing, options.key);
    return { kind: 'request', existing, key, file: join(folder, `${entry.name}.csr`) };
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    return { kind: 'refused', entry, failure: refusalOf(error) };
  }
}

/**
 * One pending key per certificate: with a second key, the certificate for the first CSR could not
 * be imported any more.
 */
async function chooseKey(
  directory: string,
  existing: ExistingCertificate,
  chosen: KeyAlgorithm | undefined,
): Promise<RequestKey> {
  const { entry, leaf } = existing;
  const file = pendingKeyFile(directory, entry.name);
  const pending = await readPendingKey(directory, entry.name);
  const kind = newKeyKind(existing, chosen);
  // A crash can leave a pending key after its certificate was imported.
  if (pending === undefined || leaf.openssl.checkPrivateKey(pending)) {
    return { source: 'new', kind, file };
  }
  const found = kindOf(pending);
  const isKept = chosen === undefined || describeKind(found) === describeKind(kind);
  return isKept
    ? { source: 'pending', kind: found, pending, file }
    : { source: 'replaced', kind, file };
}

/**
 * Writes the CSRs. Each key is on disk before its CSR, so that no CSR is without a key.
 * @throws AgentError STORE_LOCKED during another run, STORE_*
 */
export async function exportRequests(
  request: RenewalRequest,
  options: ExportOptions,
): Promise<PlannedRequest[]> {
  const directory = directoryOf(request);
  await using _ = await lock(directory);
  const planned = await previewExport(request, options);
  await preparePendingKeys(directory);
  await makeDirectory(options.folder);
  for (const one of planned) {
    if (one.kind !== 'request') continue;
    const { existing, key, file } = one;
    const used = key.pending ?? (await newPendingKey(directory, existing.entry.name, key.kind));
    const csr = encodePem('CERTIFICATE REQUEST', signingRequest(existing.leaf, used));
    await replaceFile(file, csr, 0o644);
  }
  return planned;
}

async function newPendingKey(directory: string, name: string, kind: KeyKind): Promise<KeyObject> {
  const key = await generateKey(kind);
  await storePendingKey(directory, name, key);
  return key;
}

/** A CSR in DER for a certificate like this one, signed by the new key. */
export function signingRequest({ parts }: ChainCertificate, key: KeyObject): Uint8Array {
  const publicKey = createPublicKey(key).export({ format: 'der', type: 'spki' });
  return signDer(writeRequestInfo(parts, publicKey), key);
}
