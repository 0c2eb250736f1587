import { realpath, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { AgentConfig } from '../core/config.ts';
import type { Finding } from '../core/enroller-protocol.ts';
import { describeError } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { unlessMissing } from '../sys/file-error.ts';
import { syncDirectory } from './atomic-file.ts';

/** The files that `bootstrap.deleteAfterUse` removes; none if it is not set. */
export function removableFiles({
  bootstrap: { deleteAfterUse, discovery },
  bootstrapKubeconfig,
}: Pick<AgentConfig, 'bootstrap' | 'bootstrapKubeconfig'>): string[] {
  if (!deleteAfterUse) return [];
  return [bootstrapKubeconfig, discovery?.tokenFile].filter((path) => path !== undefined);
}

/**
 * Removes a file of a bootstrap unless it is newer than the certificate: then it waits for the
 * next bootstrap. A file that cannot be removed is a finding, not an error.
 * @param storedAt when the client certificate was stored
 */
export async function removeUsedFile(path: string, storedAt: Instant): Promise<Finding[]> {
  try {
    const changedAt = await changeTime(path);
    if (changedAt === undefined || changedAt > storedAt) return [];
    for (const file of new Set([await realpath(path), path])) {
      await unlink(file);
      await syncDirectory(dirname(file));
    }
    return [{ kind: 'bootstrap-removed', path, detail: 'the node has its client certificate' }];
  } catch (error) {
    return [{ kind: 'bootstrap-kept', path, detail: describeError(error) }];
  }
}

/**
 * When the file last changed: the time of its inode, which a copy does not take over from the
 * original. Undefined for a missing file.
 */
export async function changeTime(path: string): Promise<Instant | undefined> {
  const found = await unlessMissing(() => stat(path));
  return found === undefined ? undefined : Math.floor(found.ctimeMs);
}
