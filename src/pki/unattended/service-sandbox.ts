import { realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isBelow } from '../components/mount-table.ts';

/** What the sandbox of the service does not allow without the drop-in control-plane.conf. */
export interface SandboxNeeds {
  /** A file whose owner or group is not root. A renewal keeps both. */
  readonly foreign?: string;
  /** Folders with files to renew that the service cannot write. */
  readonly outside: readonly string[];
}

/** `ReadWritePaths=` of systemd/nodecertd.service. */
export const writableFolders: readonly string[] = ['/etc/kubernetes', '/var/lib/kubelet/pki'];

/** @param files the files that a renewal replaces; those that do not exist are ignored */
export async function sandboxNeeds(
  files: readonly string[],
  writable: readonly string[] = writableFolders,
): Promise<SandboxNeeds> {
  const outside = new Set<string>();
  let foreign: string | undefined;
  for (const file of files) {
    // A renewal replaces the target of a link.
    const target = await realpath(file).catch(() => undefined);
    if (target === undefined) continue;
    const { uid, gid } = await stat(target);
    if (uid !== 0 || gid !== 0) foreign ??= target;
    if (!writable.some((folder) => isBelow(target, folder))) outside.add(dirname(target));
  }
  return { outside: [...outside], ...(foreign !== undefined && { foreign }) };
}
