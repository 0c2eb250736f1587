import { readlink, realpath } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { attempt, unlessMissing } from '../sys/file-error.ts';

/**
 * The target of the links at a path, even if it does not exist yet, so that a write keeps the
 * links.
 */
export async function linkTarget(path: string): Promise<string> {
  let target = path;
  for (let links = 0; links < 40; links += 1) {
    const at = target;
    const real = await unlessMissing(() => attempt('resolve', at, () => realpath(at)));
    if (real !== undefined) return real;
    const next = await readlink(at).catch(() => undefined);
    if (next === undefined) return target;
    target = resolve(dirname(target), next);
  }
  return target;
}
