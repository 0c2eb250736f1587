import { constants } from 'node:fs';
import { access, readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { AgentError, hasErrno } from '../../core/errors.ts';
import { withAuthority } from '../../kube/kubeconfig-authority.ts';
import { KubeconfigDocument } from '../../kube/kubeconfig-document.ts';
import { fileLimit } from '../../kube/kubeconfig-material.ts';
import { requireReplaceable } from '../../store/file-content.ts';
import { linkTarget } from '../../store/link-target.ts';
import { attempt, isMissing, storeError, unlessMissing } from '../../sys/file-error.ts';
import { readSmallFile } from '../../sys/small-file.ts';

/**
 * Checks without a change that a file can be replaced.
 * @throws AgentError STORE_PERMISSIONS, STORE_IO
 */
export async function requireWritable(path: string): Promise<void> {
  const target = await linkTarget(path);
  await requireReplaceable(target);
  await requireKnownOwner(target);
  const folder = dirname(target);
  await requireWritableFolder(folder);
  if (await isMountPoint(target)) {
    throw new AgentError('STORE_IO', `${path} is mounted as a single file and cannot be replaced`, {
      remedy: `Mount the directory ${folder} instead of the file`,
    });
  }
}

/**
 * Checks without a change that the CA value of a kubeconfig can be replaced.
 * @throws AgentError KUBECONFIG_INVALID, KUBECONFIG_UNSUPPORTED
 */
export async function requireEditable(
  path: string,
  authority: Parameters<typeof withAuthority>[2],
): Promise<void> {
  const bytes = await attempt('read', path, () => readSmallFile(path, fileLimit));
  const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  withAuthority(new KubeconfigDocument(path, text), text, authority);
}

async function requireWritableFolder(folder: string): Promise<void> {
  try {
    await access(folder, constants.W_OK | constants.X_OK);
  } catch (error) {
    if (!isMissing(error)) throw storeError('write in the directory', folder, error);
    throw new AgentError('STORE_IO', `the directory ${folder} does not exist`, {
      remedy: `Create it: mkdir -p ${folder}`,
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
