import { readdir, readlink, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/**
 * What tells one state of a `-current.pem` from another without opening it: the
 * keeper must not read pairs, since they hold the key. Besides the file itself, who
 * may enter its directory: that decides who can put another pair there.
 */
export async function pairSignature(link: string): Promise<string> {
  const signature = await fileSignature(link);
  // Of a pair that is not there only its coming counts, not the making of the directory.
  if (signature.endsWith(missing)) return signature;
  const directory = await stat(dirname(link)).catch(() => undefined);
  return `${signature} ${directory?.mode ?? missing}`;
}

/** Device, inode, size and change time of the target, and where the link points. */
export async function fileSignature(path: string): Promise<string> {
  const target = await readlink(path).catch(() => 'no link');
  const file = await stat(path, { bigint: true }).catch(() => undefined);
  if (file === undefined) return `${target} ${missing}`;
  return [target, file.dev, file.ino, file.size, file.ctimeNs, file.mode].join(' ');
}

/**
 * The same of a file; of a folder also of what is in it and in its folders, as an editor
 * that writes in place leaves the folder as it is. A kubelet's drop-ins are a handful.
 */
export async function treeSignature(path: string): Promise<string> {
  const own = await fileSignature(path);
  const names: string[] = await readdir(path, { recursive: true }).catch(() => []);
  const inside = names.sort().slice(0, mostFiles);
  const signatures = inside.map(async (name) => `${name} ${await fileSignature(join(path, name))}`);
  return [own, ...(await Promise.all(signatures))].join('\n');
}

/** Beyond that only the folder itself tells. */
const mostFiles = 100;

const missing = 'missing';
