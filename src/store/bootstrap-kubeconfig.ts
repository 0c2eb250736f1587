import { access, constants, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Finding } from '../core/enroller-protocol.ts';
import { AgentError } from '../core/errors.ts';
import { showMode } from '../core/file-mode.ts';
import type { Instant } from '../core/instant.ts';
import { minute } from '../core/instant.ts';
import { parsePem } from '../core/pem.ts';
import { exists } from '../sys/exists.ts';
import { attempt, isMissing, storeError, unlessMissing } from '../sys/file-error.ts';
import { readSmallFile } from '../sys/small-file.ts';
import { makeDirectory, removeStrays, removeStraysBefore, replaceFile } from './atomic-file.ts';
import type { User } from './kubeconfig-recognition.ts';
import { isBlank, singleUser } from './kubeconfig-recognition.ts';
import type { BootstrapCredential, KubeconfigCluster } from './kubeconfig-text.ts';
import { bootstrapKubeconfig } from './kubeconfig-text.ts';
import { linkTarget } from './link-target.ts';

export interface BootstrapFiles {
  /** Absolute. */
  readonly kubeconfig: string;
  /** Absolute. The kubeconfig then names this file instead of embedding the CAs. */
  readonly caFile?: string;
  /** Replaces a kubeconfig with another token, and a file with other CAs. */
  readonly force: boolean;
}

export interface BootstrapContent {
  readonly cluster: Omit<KubeconfigCluster, 'certificateAuthority' | 'insecureSkipTlsVerify'>;
  /** The CAs of the cluster in PEM. */
  readonly authorities: Uint8Array;
  readonly credential: BootstrapCredential;
}

export interface FileOutcome {
  readonly path: string;
  readonly change: 'created' | 'replaced' | 'unchanged';
}

/**
 * Checks before the discovery that its result can be written. Removes temporary files with a
 * token that a killed run has left.
 * @throws AgentError BOOTSTRAP_EXISTS for another token without `force`; KUBECONFIG_INVALID for
 * another kind of file; STORE_*
 */
export async function requireReplaceable(
  { kubeconfig, caFile, force }: BootstrapFiles,
  credential: BootstrapCredential | undefined,
): Promise<void> {
  const found = await findKubeconfig(kubeconfig, credential);
  if (found.kind === 'other' && !force && credential !== undefined) throw otherToken(kubeconfig);
  if (caFile !== undefined) await findAuthorities(caFile);
  for (const path of [kubeconfig, caFile]) {
    if (path === undefined) continue;
    await requireWritable(path);
    await removeLeftovers(path);
  }
}

/** @throws AgentError STORE_PERMISSIONS if this user may not write to the directory of the file */
async function requireWritable(path: string): Promise<void> {
  let directory = dirname(await linkTarget(path));
  while (!(await exists(directory))) directory = dirname(directory);
  await attempt('write to', directory, () => access(directory, constants.W_OK));
}

/** Says what `writeBootstrapFiles` would do. @throws as `writeBootstrapFiles`, except STORE_FULL */
export async function planBootstrapFiles(
  files: BootstrapFiles,
  content: BootstrapContent,
): Promise<FileOutcome[]> {
  const plan = await planOf(files, content);
  try {
    return plan.map(outcomeOf);
  } finally {
    wipe(plan);
  }
}

/**
 * Writes the CA file, and then the kubeconfig, which may name it. Replaces each file as a whole,
 * synced and with mode 0600. A process that is killed leaves the previous or the new file, and
 * maybe a hidden temporary file, which `requireReplaceable` and the next write remove.
 * @throws AgentError BOOTSTRAP_EXISTS for other content without `force`; KUBECONFIG_INVALID for
 * another kind of file; STORE_*
 */
export async function writeBootstrapFiles(
  files: BootstrapFiles,
  content: BootstrapContent,
): Promise<FileOutcome[]> {
  const plan = await planOf(files, content);
  try {
    for (const file of plan) await put(file);
    return plan.map(outcomeOf);
  } finally {
    wipe(plan);
  }
}

interface PlannedFile extends FileOutcome {
  readonly bytes: Uint8Array;
}

function outcomeOf({ path, change }: PlannedFile): FileOutcome {
  return { path, change };
}

function wipe(plan: readonly PlannedFile[]): void {
  for (const { bytes } of plan) bytes.fill(0);
}

async function planOf(files: BootstrapFiles, content: BootstrapContent): Promise<PlannedFile[]> {
  const { kubeconfig, caFile, force } = files;
  const authorities = caFile === undefined ? [] : [await planAuthorities(caFile, content, force)];
  return [...authorities, await planKubeconfig(kubeconfig, { content, caFile, force })];
}

async function planKubeconfig(
  path: string,
  {
    content: { cluster, authorities, credential },
    caFile,
    force,
  }: {
    readonly content: BootstrapContent;
    readonly caFile: string | undefined;
    readonly force: boolean;
  },
): Promise<PlannedFile> {
  const found = await findKubeconfig(path, credential);
  if (found.kind === 'other' && !force) throw otherToken(path);
  const certificateAuthority = { pem: authorities, ...(caFile !== undefined && { file: caFile }) };
  const bytes = bootstrapKubeconfig(
    { ...cluster, certificateAuthority, insecureSkipTlsVerify: false },
    credential,
  ).expose();
  return { path, bytes, change: changeOf(found, bytes) };
}

async function planAuthorities(
  path: string,
  { authorities }: BootstrapContent,
  force: boolean,
): Promise<PlannedFile> {
  const found = await findAuthorities(path);
  const bytes = Uint8Array.from(authorities);
  if (found.kind === 'missing' || hasSameCertificates(found.bytes, bytes)) {
    // Other text around the same certificates does not matter, but the mode does.
    const isKept = found.kind === 'file' && found.isPrivate;
    return { path, bytes, change: isKept ? 'unchanged' : changeOf(found, bytes) };
  }
  if (force) return { path, bytes, change: 'replaced' };
  throw new AgentError('BOOTSTRAP_EXISTS', `${path} has other CAs than the cluster`, {
    remedy: `Compare them (openssl x509 -noout -subject -enddate -in ${path}), and replace the file with --force or choose another --ca-file`,
  });
}

function changeOf(
  found: { readonly kind: string; readonly bytes?: Uint8Array; readonly isPrivate?: boolean },
  bytes: Uint8Array,
): FileOutcome['change'] {
  if (found.kind === 'missing') return 'created';
  const isSame = found.bytes !== undefined && Buffer.compare(found.bytes, bytes) === 0;
  return isSame && found.isPrivate === true ? 'unchanged' : 'replaced';
}

async function put({ path, bytes, change }: PlannedFile): Promise<void> {
  if (change === 'unchanged') return;
  const target = await linkTarget(path);
  await makeDirectory(dirname(target));
  await removeStrays(target);
  await replaceFile(target, bytes, 0o600);
}

async function removeLeftovers(path: string): Promise<void> {
  const target = await linkTarget(path);
  await unlessMissing(() => removeStrays(target));
}

/**
 * Removes the temporary files of a `discover` that was killed more than a minute ago: they contain
 * a token. The next `discover` removes them too, but may never run. Ignores a failure, because such
 * a file prevents nothing.
 */
export async function removeInterruptedWrites(path: string, now: Instant): Promise<Finding[]> {
  try {
    const removed = await removeStraysBefore(await linkTarget(path), now - minute);
    return removed.map((stray) => ({
      kind: 'stray-removed',
      path: stray,
      detail: 'left behind by an interrupted write of a bootstrap kubeconfig',
    }));
  } catch {
    return [];
  }
}

type Found =
  /** There is no file, or an empty one. */
  | { readonly kind: 'missing' }
  | { readonly kind: 'file'; readonly bytes: Uint8Array; readonly isPrivate: boolean };

type FoundKubeconfig = Found | { readonly kind: 'other' };

/** @throws AgentError KUBECONFIG_INVALID for another kind of file; STORE_* */
async function findKubeconfig(
  path: string,
  credential: BootstrapCredential | undefined,
): Promise<FoundKubeconfig> {
  const found = await readExisting(path, (kind) => foreign(path, kind));
  if (found.kind === 'missing') return found;
  const single = singleUser(found.bytes);
  if (typeof single === 'string') throw foreign(path, single);
  if (isSameCredential(single.user, credential)) return found;
  if (isFilled(single.user['token']) || isFilled(single.user['tokenFile']))
    return { kind: 'other' };
  throw foreign(path, 'a kubeconfig whose user has no token');
}

function isFilled(value: unknown): boolean {
  return typeof value === 'string' && value !== '';
}

function isSameCredential(user: User, credential: BootstrapCredential | undefined): boolean {
  if (credential === undefined) return false;
  const [key, bytes] =
    credential.kind === 'token'
      ? ['token', credential.token.expose()]
      : ['client-certificate-data', base64(credential.pem)];
  const value = user[key];
  return typeof value === 'string' && Buffer.compare(Buffer.from(value), bytes) === 0;
}

function base64(bytes: Uint8Array): Buffer {
  return Buffer.from(Buffer.from(bytes).toString('base64'));
}

/** @throws AgentError BOOTSTRAP_EXISTS for a file with anything but certificates; STORE_* */
async function findAuthorities(path: string): Promise<Found> {
  const found = await readExisting(path, (kind) => otherThanCertificates(path, kind));
  if (found.kind === 'missing' || certificatesOf(found.bytes) !== undefined) return found;
  throw otherThanCertificates(path, 'a file with other content');
}

function otherThanCertificates(path: string, found: string): AgentError {
  return new AgentError(
    'BOOTSTRAP_EXISTS',
    `${path} is ${found}; nodecertd replaces only a file of PEM certificates`,
    { remedy: `Set --ca-file to another path, or move ${path} away` },
  );
}

/** In the form of the file; undefined if it contains anything else. */
function certificatesOf(bytes: Uint8Array): string[] | undefined {
  try {
    const blocks = parsePem(bytes);
    const certificates = blocks.map(({ der }) => Buffer.from(der).toString('base64'));
    for (const { der } of blocks) der.fill(0);
    const isPure = blocks.length > 0 && blocks.every(({ label }) => label === 'CERTIFICATE');
    return isPure ? certificates : undefined;
  } catch {
    return undefined;
  }
}

function hasSameCertificates(a: Uint8Array, b: Uint8Array): boolean {
  const [left, right] = [a, b].map((bytes) => certificatesOf(bytes)?.toSorted().join());
  return left === right;
}

async function readExisting(path: string, refuse: Refuse): Promise<Found> {
  const found = await unlessMissing(() => attempt('check', path, () => stat(path)));
  if (found === undefined) return { kind: 'missing' };
  if (found.isDirectory()) throw refuse('a directory');
  const bytes = await readBytes(path, refuse);
  if (bytes === undefined || isBlank(bytes)) return { kind: 'missing' };
  const isPrivate = showMode(found.mode) === '0600' && found.uid === process.geteuid?.();
  return { kind: 'file', bytes, isPrivate };
}

/** The error for a description of the file, which follows "PATH is" in its message. */
type Refuse = (found: string) => AgentError;

const largestFile = 1024 * 1024;

async function readBytes(path: string, refuse: Refuse): Promise<Uint8Array | undefined> {
  try {
    return await readSmallFile(path, largestFile);
  } catch (error) {
    if (isMissing(error)) return undefined;
    if (error instanceof RangeError) throw refuse(`a file that ${error.message}`);
    throw storeError('read', path, error);
  }
}

function foreign(path: string, found: string): AgentError {
  return new AgentError(
    'KUBECONFIG_INVALID',
    `${path} is ${found}; nodecertd replaces only a kubeconfig with a bootstrap token`,
    { remedy: `Set --output to another path, or move ${path} away` },
  );
}

function otherToken(path: string): AgentError {
  return new AgentError('BOOTSTRAP_EXISTS', `${path} exists and has another token`, {
    remedy: `If no program uses that token anymore, replace the file with --force; or set --output to another path`,
  });
}
