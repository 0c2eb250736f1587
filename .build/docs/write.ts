/**
 * Writes the manual pages and the completions of the shells, each at its place below
 * PREFIX/share: node .build/docs/write.ts DIRECTORY VERSION
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { sourceDate } from '../source-date.ts';
import { bashCompletion } from './bash-completion.ts';
import { readModel } from './cli-model.ts';
import { fishCompletion } from './fish-completion.ts';
import { manPages } from './man-pages.ts';
import { zshCompletion } from './zsh-completion.ts';

const [directory = 'dist/share', version = ''] = process.argv.slice(2);

const model = await readModel();
const pages = await manPages(model, { version, date: sourceDate() });
const files = new Map<string, string | Buffer>([
  ['bash-completion/completions/nodecertd', bashCompletion(model)],
  ['zsh/site-functions/_nodecertd', zshCompletion(model)],
  ['fish/vendor_completions.d/nodecertd.fish', fishCompletion(model)],
  ...[...pages].map(
    ([name, text]) => [`man/man1/${name}.gz`, gzipSync(text, { level: 9 })] as const,
  ),
]);

await rm(directory, { recursive: true, force: true });
for (const [path, content] of files) {
  await mkdir(join(directory, dirname(path)), { recursive: true });
  await writeFile(join(directory, path), content);
}
