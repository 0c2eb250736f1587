import type { KeyObject } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isSameBytes } from '../../core/der.ts';
import type { Instant } from '../../core/instant.ts';
import { AgentError } from '../../core/errors.ts';
import { attempt, unlessMissing } from '../../sys/file-error.ts';
import { readBoundedFile } from '../../sys/small-file.ts';
import type { ChainCertificate } from './certificate-chain.ts';
import { readCertificates } from './certificate-chain.ts';
import { requireAccepted } from './chain-proof.ts';
import type { ExistingCertificate, NodeFiles } from './existing-certificate.ts';
import { readExisting } from './existing-certificate.ts';
import { checkIssued } from './issued-certificate.ts';
import { kindOf } from './key-file.ts';
import type { KubeadmCertificate } from '../layout.ts';
import { fileOf } from '../layout.ts';
import { refusalOf } from './refusal.ts';
import { readPendingKey } from './pending-keys.ts';
import type { RenewalItem } from './renewal-item.ts';
import type { PlannedCertificate, Selection } from './renewal-plan.ts';
import { readAuthorityFile, selected } from './renewal-plan.ts';

export interface ImportRequest extends NodeFiles {
  readonly now: Instant;
  /** Names limit the import to these certificates. */
  readonly selection: Selection;
  /** The folder of all runs, which contains the pending keys. */
  readonly directory: string;
  /** The folder with the certificates of the external CA. */
  readonly folder: string;
}

/** A certificate with a pending key, or with a file in the folder. */
interface Candidate {
  readonly entry: KubeadmCertificate;
  readonly key?: KeyObject;
  readonly files: readonly string[];
}

/**
 * Compares the certificates in a folder with the pending keys and the existing certificates, in the
 * order in which they are replaced. Writes nothing.
 * @throws AgentError USAGE if there is nothing to import
 */
export async function planImport(request: ImportRequest): Promise<PlannedCertificate[]> {
  const { selection, directory, folder } = request;
  const names = await unlessMissing(() => attempt('list', folder, () => readdir(folder)));
  if (names === undefined) {
    throw new AgentError('USAGE', `there is no folder ${folder}`, {
      remedy: 'Pass the folder with the certificates of the CA: --import DIR',
    });
  }
  const planned: PlannedCertificate[] = [];
  for (const entry of selected(selection)) {
    const files = ['.crt', '.pem']
      .map((ending) => `${entry.name}${ending}`)
      .filter((name) => names.includes(name))
      .map((name) => join(folder, name));
    const found = await planOne(entry, files, request);
    if (found !== undefined) planned.push(found);
  }
  if (planned.length > 0) return planned;
  throw new AgentError(
    'USAGE',
    `${directory} has no pending key, and ${folder} has no certificate of this node (NAME.crt or NAME.pem)`,
    { remedy: 'Create CSRs first: nodecertd certs renew --all --csr-out DIR' },
  );
}

async function planOne(
  entry: KubeadmCertificate,
  files: readonly string[],
  request: ImportRequest,
): Promise<PlannedCertificate | undefined> {
  const { selection, directory, directories } = request;
  const file = fileOf(entry, directories);
  try {
    const key = await readPendingKey(directory, entry.name);
    const isNamed = typeof selection !== 'string';
    if (key === undefined && files.length === 0 && !isNamed) return undefined;
    return await plan({ entry, files, ...(key && { key }) }, request);
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    return { kind: 'refused', entry, file, failure: refusalOf(error) };
  }
}

async function plan(
  { entry, key, files }: Candidate,
  request: ImportRequest,
): Promise<PlannedCertificate> {
  const { directories, folder } = request;
  const authority = await readAuthorityFile(entry.authority, directories);
  const existing = await readExisting(entry, request, async () => authority);
  if (existing === undefined) return { kind: 'missing', entry, file: fileOf(entry, directories) };
  const hasPendingKey = key !== undefined && existing.leaf.openssl.checkPrivateKey(key);
  if (hasPendingKey) return { kind: 'imported', entry, hasPendingKey };
  const [file, second] = files;
  if (second !== undefined) throw ambiguous(file ?? '', second);
  const certificates = file === undefined ? [] : await readIssued(file);
  // A folder may still have the certificate of an earlier import.
  const isKnown = certificates.some(({ der }) => isSameBytes(der, existing.leaf.der));
  if (key === undefined && isKnown) return { kind: 'imported', entry, hasPendingKey };
  if (key === undefined) throw withoutKey(entry);
  if (file === undefined || isKnown) return { kind: 'pending', entry, folder };
  const { certificate, chain, anchor } = checkIssued({
    certificates,
    file,
    key,
    existing: existing.leaf,
    authority,
    now: request.now,
  });
  await requireAccepted({ certificate, chain, key, authority, file });
  const signer = { kind: 'external', certificate: anchor } as const;
  const issued = { certificate, key, file };
  const item = { ...replacing(existing, issued), chain, signer, authorityPath: authority.path };
  return { kind: 'renew', item };
}

function replacing(
  { entry, target, leaf, previousForm, storedAt }: ExistingCertificate,
  issued: NonNullable<RenewalItem['issued']>,
): Omit<RenewalItem, 'chain' | 'signer' | 'authorityPath'> {
  const { notBefore, notAfter } = issued.certificate.facts;
  return {
    entry,
    target,
    leaf,
    issued,
    omitted: [],
    key: kindOf(issued.key),
    ...(previousForm && { previousForm }),
    validity: { notBefore, notAfter },
    storedAt,
  };
}

/** @throws AgentError PAIR_MALFORMED, CERT_MALFORMED, STORE_* */
export async function readIssued(file: string): Promise<ChainCertificate[]> {
  using content = await readBoundedFile(file);
  const certificates = await read(content.content.expose(), file);
  if (certificates.length > 0) return certificates;
  throw new AgentError('PAIR_MALFORMED', `${file} contains no certificate in PEM`, {
    remedy: `Convert it, if it is DER: openssl x509 -inform der -in ${file} -out FILE`,
  });
}

async function read(pem: Uint8Array, file: string): Promise<ChainCertificate[]> {
  try {
    return await readCertificates(pem);
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    throw new AgentError(error.code, `${file}: ${error.message}`, {
      remedy: `Copy the certificate of the CA to ${file} again`,
    });
  }
}

function withoutKey({ name }: KubeadmCertificate): AgentError {
  return new AgentError('PAIR_MALFORMED', `no key is pending for ${name}`, {
    remedy: `Create a CSR, and have it signed: nodecertd certs renew ${name} --csr-out DIR`,
  });
}

function ambiguous(first: string, second: string): AgentError {
  return new AgentError('PAIR_MALFORMED', `both ${first} and ${second} exist`, {
    remedy: 'Delete one of them',
  });
}
