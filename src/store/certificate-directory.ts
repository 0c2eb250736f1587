import { chmod, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Finding } from '../core/enroller-protocol.ts';
import { AgentError } from '../core/errors.ts';
import { showMode } from '../core/file-mode.ts';
import { attempt, isMissing } from '../sys/file-error.ts';

/** Values of `f_type` in statfs(2), from linux/magic.h. */
const volatileFileSystems = new Map([
  [0x01021994, 'tmpfs'],
  [0x858458f6, 'ramfs'],
]);

/**
 * Refuses a directory whose files are lost at a reboot. The kubeconfig would survive and name a
 * missing certificate, so the node could neither authenticate nor bootstrap
 * (kubernetes/kubernetes#53288). For a directory that does not exist, the existing parent is
 * checked.
 * @throws AgentError STORE_VOLATILE
 */
export async function refuseVolatile(directory: string): Promise<void> {
  const type = await fileSystemType(directory);
  const name = volatileFileSystems.get(type);
  if (name === undefined) return;
  throw new AgentError(
    'STORE_VOLATILE',
    `the certificate directory ${directory} is on a ${name}, whose files are lost at a reboot`,
    {
      remedy:
        'Set certificateDirectory (--cert-dir) to a directory on a disk, or set store.acceptVolatileDirectory: true if the node bootstraps at each boot',
    },
  );
}

async function fileSystemType(path: string): Promise<number> {
  try {
    const { type } = await attempt('read the file system type of', path, () => statfs(path));
    // Some platforms sign-extend this 32-bit field.
    return type >>> 0;
  } catch (error) {
    if (!isMissing(error) || dirname(path) === path) throw error;
    return fileSystemType(dirname(path));
  }
}

export async function directoryExists(directory: string): Promise<boolean> {
  try {
    const { isDirectory } = await directoryStat(directory);
    if (isDirectory) return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
  throw new AgentError('STORE_IO', `the certificate directory ${directory} is not a directory`, {
    remedy: `Move ${directory} away, or set certificateDirectory (--cert-dir) to another directory`,
  });
}

/**
 * Anyone who can write to the directory can replace a key pair in it. Removes write permission
 * of group and others if the directory belongs to this user, and refuses it otherwise.
 * @throws AgentError STORE_PERMISSIONS
 */
export async function tightenDirectory(directory: string): Promise<Finding[]> {
  const { mode, uid } = await directoryStat(directory);
  if ((mode & othersMayWrite) === 0) return [];
  const shown = showMode(mode);
  if ((mode & sticky) !== 0 || uid !== process.geteuid?.()) {
    throw new AgentError(
      'STORE_PERMISSIONS',
      `the certificate directory ${directory} has mode ${shown} and owner ${uid}: other users can replace its files`,
      {
        remedy:
          (mode & sticky) === 0
            ? `Run: chown ${process.geteuid?.() ?? 'root'} ${directory} && chmod go-w ${directory}`
            : `Set certificateDirectory (--cert-dir) to another directory: all users share ${directory}`,
      },
    );
  }
  const tightened = mode & ~othersMayWrite;
  await attempt('change the mode of', directory, () => chmod(directory, tightened));
  const detail = `changed the mode of the directory from ${shown} to ${showMode(tightened)}`;
  return [{ kind: 'permissions-tightened', path: directory, detail }];
}

const othersMayWrite = 0o022;
const sticky = 0o1000;

async function directoryStat(
  directory: string,
): Promise<{ readonly mode: number; readonly uid: number; readonly isDirectory: boolean }> {
  const found = await attempt('inspect', directory, () => stat(directory));
  return { mode: found.mode & 0o7777, uid: found.uid, isDirectory: found.isDirectory() };
}
