import { realpath } from 'node:fs/promises';

/** True when both paths lead to the same file or folder. A path that does not exist is compared as text. */
export async function isSamePath(a: string, b: string): Promise<boolean> {
  const [first, second] = await Promise.all([a, b].map((path) => realpath(path).catch(() => path)));
  return first === second;
}
