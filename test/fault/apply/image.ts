import { createHash } from 'node:crypto';
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

/** Files, folders and links below a folder, by their relative paths; a folder comes before its files. */
export type Image = ReadonlyMap<string, Entry>;

export type Entry =
  | { readonly kind: 'folder'; readonly mode: number }
  | { readonly kind: 'file'; readonly mode: number; readonly bytes: Buffer }
  | { readonly kind: 'link'; readonly target: string };

/** All calls are synchronous, so that no other call comes between them. */
export function readImage(root: string): Map<string, Entry> {
  const image = new Map<string, Entry>();
  const read = (folder: string): void => {
    for (const name of readdirSync(join(root, folder)).sort()) {
      const path = join(folder, name);
      const entry = readEntry(join(root, path));
      image.set(path, entry);
      if (entry.kind === 'folder') read(path);
    }
  };
  read('');
  return image;
}

function readEntry(path: string): Entry {
  const found = lstatSync(path);
  const mode = found.mode & 0o7777;
  if (found.isSymbolicLink()) return { kind: 'link', target: readlinkSync(path) };
  if (found.isDirectory()) return { kind: 'folder', mode };
  return { kind: 'file', mode, bytes: readFileSync(path) };
}

/** Replaces everything below the folder. */
export function writeImage(root: string, image: Image): void {
  rmSync(root, { recursive: true, force: true });
  mkdirSync(root);
  for (const [name, entry] of image) {
    const path = join(root, name);
    if (entry.kind === 'folder') mkdirSync(path, { mode: entry.mode });
    else if (entry.kind === 'link') symlinkSync(entry.target, path);
    else writeFileSync(path, entry.bytes, { mode: entry.mode });
  }
}

/**
 * Two images have the same text if they differ only in random bytes and times: new keys and certificates,
 * and names with a time. New contents are numbered, so the text shows which files and digests are equal.
 * @param known contents that have a name of their own: their digests stay
 */
export function describeImage(image: Image, known: ReadonlySet<string>): string {
  const numbers = new Map<string, string>();
  const name = (digest: string): string => {
    if (known.has(digest)) return digest;
    const number = numbers.get(digest) ?? `#${numbers.size}`;
    numbers.set(digest, number);
    return number;
  };
  return [...image]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([path, entry]) => `${path} ${describeEntry(path, entry)}`)
    .join('\n')
    .replaceAll(/\d{8}T\d{6}Z-/g, 'run-')
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'time')
    .replaceAll(/\.nodecertd-[\da-f]{16}\./g, '.temporary.')
    .replaceAll(/\b[\da-f]{64}\b/g, name);
}

function describeEntry(path: string, entry: Entry): string {
  if (entry.kind === 'link') return entry.target;
  if (entry.kind === 'folder') return entry.mode.toString(8);
  // Manifests of runs have the digests of other files. The start of a process is a time.
  const text = path.endsWith('manifest.json') ? entry.bytes.toString() : digestOf(entry.bytes);
  return /^proc\/\d+\/stat$/.test(path) ? 'stat' : `${entry.mode.toString(8)} ${text}`;
}

/** The digests of all contents. */
export function digestsIn(image: Image): Set<string> {
  const files = [...image.values()].flatMap((entry) => (entry.kind === 'file' ? [entry] : []));
  return new Set([digestOf(Buffer.alloc(0)), ...files.map(({ bytes }) => digestOf(bytes))]);
}

function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
