import { readlink, stat } from 'node:fs/promises';

/**
 * What tells one state of a `-current.pem` from another without opening it: the
 * keeper must not read pairs, since they hold the key. Device, inode, size and
 * change time of the target, and where the link points.
 */
export async function pairSignature(link: string): Promise<string> {
  const target = await readlink(link).catch(() => 'no link');
  const file = await stat(link, { bigint: true }).catch(() => undefined);
  if (file === undefined) return `${target} missing`;
  return [target, file.dev, file.ino, file.size, file.ctimeNs, file.mode].join(' ');
}
