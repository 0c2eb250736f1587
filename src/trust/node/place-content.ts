import { constants } from 'node:fs';
import { access, readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { AgentError, hasErrno, toFailure } from '../../core/errors.ts';
import type { Failure } from '../../core/errors.ts';
import { scanPem } from '../../core/pem.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { kubeconfigAuthority } from '../../kube/kubeconfig-authority.ts';
import { openKubeconfig } from '../../kube/kubeconfig.ts';
import { requireReplaceable } from '../../store/file-content.ts';
import { linkTarget } from '../../store/link-target.ts';
import { attempt, storeError, unlessMissing } from '../../sys/file-error.ts';
import { readSmallFile } from '../../sys/small-file.ts';
import { readAuthorities } from '../../kube/authorities.ts';

/** The CAs that a kubeconfig or a PEM file has now. */
export interface PlaceContent {
  /** The CA file that a kubeconfig names. */
  readonly file?: string;
  readonly authorities: readonly TrustAuthority[];
  /** What is wrong with each block that is left out. */
  readonly malformed: readonly string[];
  /** Why the CAs cannot be read. */
  readonly problem?: Failure;
}

const largestFile = 1024 * 1024;

/** Never rejects: a place that cannot be read must not hide the others. */
export async function readPlace(form: 'kubeconfig' | 'pem', path: string): Promise<PlaceContent> {
  let file: string | undefined;
  try {
    if (form === 'pem') return await readPemFile(path);
    const source = kubeconfigAuthority(await openKubeconfig(path));
    if (source === undefined) throw withoutAuthority(path);
    if (source.kind === 'data') return authoritiesIn(path, source.bytes);
    if (source.shown !== source.path) throw notPath(path);
    file = source.path;
    return { file, ...(await readPemFile(source.path)) };
  } catch (error) {
    const problem = toFailure(error);
    return { ...(file !== undefined && { file }), authorities: [], malformed: [], problem };
  }
}

function withoutAuthority(path: string): AgentError {
  const message = `kubeconfig ${path} has no certificate authority, so its users trust the CAs of the machine`;
  return new AgentError('KUBECONFIG_UNSUPPORTED', message, {
    remedy: `Set certificate-authority in ${path} to a file with the CAs of the cluster`,
  });
}

/** An administrator may have pasted a key in place of a path, so the message does not repeat it. */
function notPath(path: string): AgentError {
  return new AgentError('KUBECONFIG_INVALID', `kubeconfig ${path} names a CA file by no path`, {
    remedy: `Set certificate-authority in ${path} to an absolute path`,
  });
}

async function readPemFile(path: string): Promise<PlaceContent> {
  try {
    return authoritiesIn(path, await readSmallFile(path, largestFile));
  } catch (error) {
    if (!(error instanceof RangeError)) throw storeError('read', path, error);
    throw new AgentError('PAIR_MALFORMED', `${path} ${error.message}`, {
      remedy: `Replace ${path} with a PEM file of CA certificates`,
    });
  }
}

/** @throws AgentError PAIR_MALFORMED for a file with other blocks, which a change would lose */
function authoritiesIn(path: string, bytes: Uint8Array): PlaceContent {
  const { blocks } = scanPem(bytes);
  const other = blocks.find(({ label }) => label !== 'CERTIFICATE');
  for (const { der } of blocks) der.fill(0);
  if (other !== undefined) {
    throw new AgentError('PAIR_MALFORMED', `${path} also contains a PEM block ${other.label}`, {
      remedy: `Move the PEM block ${other.label} to another file`,
    });
  }
  const { authorities, problems: malformed } = readAuthorities(bytes);
  return { authorities, malformed };
}

/**
 * Checks without a change that a file can be replaced.
 * @throws AgentError STORE_PERMISSIONS, STORE_IO
 */
export async function requireWritable(path: string): Promise<void> {
  const target = await linkTarget(path);
  await requireReplaceable(target);
  await requireKnownOwner(target);
  const folder = dirname(target);
  await attempt('write in the directory', folder, () =>
    access(folder, constants.W_OK | constants.X_OK),
  );
  if (await isMountPoint(target)) {
    throw new AgentError('STORE_IO', `${path} is mounted as a single file and cannot be replaced`, {
      remedy: `Mount the directory ${folder} instead of the file`,
    });
  }
}

/**
 * With PrivateUsers= of the unit, all users but root have the same number, so that a new file could
 * not get the owner of the previous one.
 */
async function requireKnownOwner(path: string): Promise<void> {
  const found = await unlessMissing(() => attempt('inspect', path, () => stat(path)));
  if (found === undefined || ![found.uid, found.gid].includes(overflowId)) return;
  const map = await readFile('/proc/self/uid_map', 'utf8').catch(() => '');
  if (map === '' || /^\s*0\s+0\s+4294967295\s/.test(map)) return;
  const message = `${path} belongs to a user or group that the sandbox of this service hides`;
  throw new AgentError('STORE_PERMISSIONS', message, {
    remedy: `Run chown root:root ${path}, or install the drop-in control-plane.conf of the unit`,
  });
}

/** The number of a user without a number in this namespace (/proc/sys/kernel/overflowuid). */
const overflowId = 65_534;

/** rename(2) cannot replace a mount point. A mount from the same file system is found only then. */
async function isMountPoint(path: string): Promise<boolean> {
  try {
    const [file, folder] = await Promise.all([stat(path), stat(dirname(path))]);
    return file.dev !== folder.dev;
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return false;
    throw storeError('inspect', path, error);
  }
}
