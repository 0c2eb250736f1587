import { readFile, readdir } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import type { Pieces } from '../program-pieces.ts';

/** Third-party software in the package. */
export interface Bundled {
  readonly name: string;
  readonly version: string;
  /** The folder of its sources, relative to the root of this repository. */
  readonly directory: string;
  /** The license of its manifest, as SPDX. */
  readonly license: string;
  /** The complete text of its licenses and notices. */
  readonly text: string;
  readonly author?: string;
}

/** The npm packages with at least one file in the bundle, by name. */
export async function bundledPackages(pieces: Pieces): Promise<Bundled[]> {
  const inputs = Object.keys(pieces.metafile.inputs);
  const directories = new Set(inputs.map(packageDirectory).filter((found) => found !== undefined));
  const all = await Promise.all([...directories].map(readBundled));
  return all.toSorted((a, b) => a.directory.localeCompare(b.directory, 'en'));
}

/** `node_modules/@scope/name` for a path below it; undefined for this project's own sources. */
function packageDirectory(path: string): string | undefined {
  return /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path.split(sep).join('/'))?.[0];
}

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license?: string;
  readonly author?: string | { readonly name: string };
}

/** @throws if there is no license text, because we may not distribute the package without it */
export async function readBundled(directory: string): Promise<Bundled> {
  const manifest = JSON.parse(await readFile(join(directory, 'package.json'), 'utf8')) as Manifest;
  const { name, version, license, author } = manifest;
  const names = (await readdir(directory)).filter((file) => /^(?:licen[cs]e|notice)/i.test(file));
  const texts = await Promise.all(
    names.toSorted().map(async (file) => readFile(join(directory, file), 'utf8')),
  );
  if (!names.some((file) => /^licen/i.test(file)) || license === undefined) {
    throw new Error(`${name} ${version} has no license text, so it cannot be distributed`);
  }
  const writer = typeof author === 'string' ? author : author?.name;
  return {
    name,
    version,
    directory: relative('', directory),
    license,
    text: texts.map((text) => text.trim()).join('\n\n'),
    ...(writer !== undefined && { author: writer.replace(/ *[<(].*$/, '') }),
  };
}
