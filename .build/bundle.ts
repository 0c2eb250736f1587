/**
 * Bundles src/ into dist/lib for release. Two passes: the first splits the program
 * at its dynamic imports, so that each role loads only its own half and shared code
 * exists once; the second turns the pieces into CommonJS, because a process that
 * never touches Node's ES module loader is about 4 MB smaller.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { build, transform } from 'esbuild';

const target = 'node26';
const directory = process.argv[2] ?? 'dist/lib';

const split = await build({
  entryPoints: ['src/main.ts'],
  outdir: directory,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target,
  legalComments: 'none',
  write: false,
});

await rm(directory, { recursive: true, force: true });
await mkdir(directory, { recursive: true });
await writeFile(join(directory, 'package.json'), '{"type":"commonjs"}\n');
for (const { path, text } of split.outputFiles) {
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
