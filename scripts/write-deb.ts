/**
 * Makes a Debian package of the files that make install has put into DIST/deb, and
 * prints its name: node scripts/write-deb.ts DIST VERSION [COMPRESSION]
 */
import { execFileSync } from 'node:child_process';
import { chmod, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { controlFile, debianArchitecture, fieldOf } from './package/control-file.ts';
import { debianChangelog } from './package/debian-changelog.ts';
import { conffiles, installedSize, md5sums, readTree, setTimes } from './package/tree.ts';
import { sourceDate } from './source-date.ts';

// File modes are part of the package and must not depend on the user's umask.
process.umask(0o022);

const [dist = 'dist', version = '', compression = '6'] = process.argv.slice(2);
const root = join(dist, 'deb');
const sources = 'systemd/package';
const architecture = debianArchitecture(process.arch);
const fixed = await readFile(join(sources, 'control'), 'utf8');
const name = fieldOf(fixed, 'Package');
const date = sourceDate();

const changelog = debianChangelog(await readFile('CHANGELOG.md', 'utf8'), {
  package: name,
  version,
  maintainer: fieldOf(fixed, 'Maintainer'),
  date,
});
await put(`usr/share/doc/${name}/changelog.Debian.gz`, gzipSync(changelog, { level: 9 }));
await put(
  `usr/share/lintian/overrides/${name}`,
  await readFile(join(sources, 'lintian-overrides')),
);

const entries = await readTree(root);
const control = { version, architecture, installedSize: installedSize(entries) };
await put('DEBIAN/control', controlFile(fixed, control));
await put('DEBIAN/conffiles', conffiles(entries));
await put('DEBIAN/md5sums', await md5sums(root, entries));
for (const script of ['postinst', 'prerm', 'postrm']) {
  await copyFile(join(sources, script), join(root, 'DEBIAN', script));
  await chmod(join(root, 'DEBIAN', script), 0o755);
}
await setTimes(root, date);

const file = `${name}_${version}_${architecture}.deb`;
// With more threads, xz splits its input, and the package depends on their number.
const options = ['--root-owner-group', '-Zxz', `-z${compression}`, '--threads-max=1'];
execFileSync('dpkg-deb', [...options, '--build', root, join(dist, file)], {
  env: { ...process.env, SOURCE_DATE_EPOCH: String(date.getTime() / 1_000) },
  stdio: ['ignore', 'ignore', 'inherit'],
});
process.stdout.write(`${file}\n`);

async function put(path: string, content: string | Buffer): Promise<void> {
  const target = join(root, path);
  await mkdir(dirname(target), { recursive: true, mode: 0o755 });
  await writeFile(target, content, { mode: 0o644 });
}
