import { readFile } from 'node:fs/promises';
import type { BuildResult, Plugin } from 'esbuild';
import { build } from 'esbuild';

/** esbuild need not rewrite syntax that Node 26 supports. */
export const target = 'node26';

export type Pieces = BuildResult<{ readonly write: false; readonly metafile: true }>;

/**
 * Splits the program at its dynamic imports, so that keeper and enroller load only
 * their own code and shared code exists once. Writes nothing.
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

/** For two builds that differ in nothing but their version, to test an upgrade. */
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
