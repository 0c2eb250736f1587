import { chmod } from 'node:fs/promises';

/** Runs `work` as a user who may not enter the directory. */
export async function withoutAccess<T>(directory: string, work: () => Promise<T>): Promise<T> {
  const user = process.geteuid?.();
  await chmod(directory, 0);
  try {
    // Root may enter every directory.
    if (user === 0) process.seteuid?.(65_534);
    return await work();
  } finally {
    if (user === 0) process.seteuid?.(0);
    await chmod(directory, 0o700);
  }
}
