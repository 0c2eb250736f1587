/**
 * Writes the generated files for PREFIX/share, which are manual pages, shell
 * completions and licenses: node scripts/write-share.ts DIRECTORY VERSION
 */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { bashCompletion } from './docs/bash-completion.ts';
import { readModel } from './docs/cli-model.ts';
import { fishCompletion } from './docs/fish-completion.ts';
import { manPages } from './docs/man-pages.ts';
import { zshCompletion } from './docs/zsh-completion.ts';
import { copyrightFile } from './package/copyright.ts';
import { bundledPackages } from './package/licenses.ts';
import { runtimeLicense } from './package/runtime.ts';
import { programPieces } from './program-pieces.ts';
import { sourceDate } from './source-date.ts';

const [directory = 'dist/share', version = ''] = process.argv.slice(2);

const model = await readModel();
const pages = await manPages(model, { version, date: sourceDate() });
const others = [
  await runtimeLicense(),
  ...(await bundledPackages(await programPieces('dist/lib'))),
];
const files = new Map<string, string | Buffer>([
  ['bash-completion/completions/nodecertd', bashCompletion(model)],
  ['zsh/site-functions/_nodecertd', zshCompletion(model)],
  ['fish/vendor_completions.d/nodecertd.fish', fishCompletion(model)],
  ...[...pages].map(([name, text]) => [`man/man1/${name}.gz`, compressed(text)] as const),
  ['doc/copyright', copyrightFile(others)],
  ['doc/changelog.gz', compressed(await readFile('CHANGELOG.md', 'utf8'))],
]);

await rm(directory, { recursive: true, force: true });
for (const [path, content] of files) {
  await mkdir(join(directory, dirname(path)), { recursive: true });
  await writeFile(join(directory, path), content);
}

/** Unlike gzip, adds no time and no file name. */
function compressed(text: string): Buffer {
  return gzipSync(text, { level: 9 });
}
