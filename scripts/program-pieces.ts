import { readFile } from 'node:fs/promises';
import type { BuildResult, Plugin } from 'esbuild';
import { build } from 'esbuild';

/** What Node 26 understands needs no rewriting. */
export const target = 'node26';

export type Pieces = BuildResult<{ readonly write: false; readonly metafile: true }>;

/**
 * The program split at its dynamic imports, so that each role loads only its own half
 * and shared code exists once. Nothing is written.
 */
export async function programPieces(outdir: string, version?: string): Promise<Pieces> {
  return build({
    entryPoints: ['src/main.ts'],
    outdir,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target,
    legalComments: 'none',
    write: false,
    metafile: true,
    plugins: version === undefined ? [] : [calledVersion(version)],
  });
}

/** For builds that are to differ in nothing else, such as the two of an upgrade that is tried out. */
function calledVersion(version: string): Plugin {
  return {
    name: 'version',
    setup: (bundler) => {
      bundler.onLoad({ filter: /\/package\.json$/ }, async ({ path }) => {
        const manifest = JSON.parse(await readFile(path, 'utf8')) as { readonly name: string };
        const own = manifest.name === 'nodecertd';
        return own ? { contents: JSON.stringify({ ...manifest, version }), loader: 'json' } : null;
      });
    },
  };
}
