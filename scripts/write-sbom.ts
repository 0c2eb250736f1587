/**
 * Writes the bill of materials of a build: node scripts/write-sbom.ts FILE VERSION [DEBIAN]
 * DEBIAN is a file with the Debian packages of an image.
 */
import { execFileSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import type { Bill, SystemPackage } from './package/bill-of-materials.ts';
import { completeBill } from './package/bill-of-materials.ts';
import { bundledPackages } from './package/licenses.ts';
import { readRuntime } from './package/runtime.ts';
import { programPieces } from './program-pieces.ts';
import { sourceDate } from './source-date.ts';

const [file = 'dist/nodecertd.cdx.json', version = '', debian] = process.argv.slice(2);

const bundled = await bundledPackages(await programPieces('dist/lib'));
const output = execFileSync('npm', ['sbom', '--sbom-format', 'cyclonedx'], {
  encoding: 'utf8',
  maxBuffer: 2 ** 26,
});
const bill = completeBill(JSON.parse(output) as Bill, {
  version,
  date: sourceDate(),
  runtime: await readRuntime(),
  bundled: bundled.map(({ name, version: its }) => `${name}@${its}`),
  ...(debian !== undefined && {
    debian: JSON.parse(await readFile(debian, 'utf8')) as readonly SystemPackage[],
  }),
});
await writeFile(file, `${JSON.stringify(bill, null, 2)}\n`);
