import { chmod, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Finding } from '../core/enroller-protocol.ts';
import { AgentError } from '../core/errors.ts';
import { showMode } from '../core/file-mode.ts';
import { attempt, isMissing } from '../sys/file-error.ts';

/** `f_type` of statfs(2); from linux/magic.h. */
const volatileFileSystems = new Map([
  [0x01021994, 'tmpfs'],
  [0x858458f6, 'ramfs'],
]);

/**
 * Pairs that vanish at a reboot, while the kubeconfig that names them stays, leave a
 * node that can neither authenticate nor bootstrap (kubernetes/kubernetes#53288).
 * A directory that does not exist yet is judged by where it would be created.
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
        'Choose a directory on a disk, or set store.acceptVolatileDirectory if each boot bootstraps anew',
    },
  );
}

async function fileSystemType(path: string): Promise<number> {
  try {
    const { type } = await attempt('look at the file system of', path, () => statfs(path));
    // A 32-bit field, which some platforms hand over with its sign.
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
    remedy: `Move ${directory} away or choose another directory`,
  });
}

/**
 * Whoever may write to the directory can put a pair of their own in the place of
 * ours. Rights of group and others to write are taken away where the directory is
 * ours, and refused where it is not.
 * @throws AgentError STORE_PERMISSIONS
 */
export async function tightenDirectory(directory: string): Promise<Finding[]> {
  const { mode, uid } = await directoryStat(directory);
  if ((mode & othersMayWrite) === 0) return [];
  const shown = showMode(mode);
  if ((mode & sticky) !== 0 || uid !== process.geteuid?.()) {
    throw new AgentError(
      'STORE_PERMISSIONS',
      `the certificate directory ${directory} has mode ${shown} and owner ${uid}: others may replace its files`,
      {
        remedy:
          (mode & sticky) === 0
            ? `Run: chown ${process.geteuid?.() ?? 'root'} ${directory} && chmod go-w ${directory}`
            : `Choose a directory of its own: ${directory} is shared by all users`,
      },
    );
  }
  const tightened = mode & ~othersMayWrite;
  await attempt('change the mode of', directory, () => chmod(directory, tightened));
  const detail = `the directory had mode ${shown}, now ${showMode(tightened)}`;
  return [{ kind: 'permissions-tightened', path: directory, detail }];
}

const othersMayWrite = 0o022;
const sticky = 0o1000;

async function directoryStat(
  directory: string,
): Promise<{ readonly mode: number; readonly uid: number; readonly isDirectory: boolean }> {
  const found = await attempt('look at', directory, () => stat(directory));
  return { mode: found.mode & 0o7777, uid: found.uid, isDirectory: found.isDirectory() };
}
