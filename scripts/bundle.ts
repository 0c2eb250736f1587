/**
 * Bundles src/ into dist/lib for release, in two passes. The first splits the program
 * into pieces. The second converts them to CommonJS, because a process that never loads
 * Node's ES module loader is about 4 MB smaller.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { transform } from 'esbuild';
import { programPieces, target } from './program-pieces.ts';

const [directory = 'dist/lib', version] = process.argv.slice(2);

const pieces = await programPieces(directory, version);

await rm(directory, { recursive: true, force: true });
await mkdir(directory, { recursive: true });
await writeFile(join(directory, 'package.json'), '{"type":"commonjs"}\n');
for (const { path, text } of pieces.outputFiles) {
  const { code } = await transform(text, {
    format: 'cjs',
    platform: 'node',
    target,
    minify: true,
    supported: { 'dynamic-import': false },
    legalComments: 'none',
  });
  await writeFile(join(directory, basename(path)), code);
}
