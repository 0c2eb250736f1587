/**
 * Makes an OCI image of the files that make install has put into DIST/image/installed, and prints
 * the name of its archive: node scripts/write-image.ts DIST VERSION
 *
 * Writes the Debian packages of the image to DIST/image/packages.json, for the bill of materials.
 */
import { cp, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { cacheDirectory } from '../test/support/programs.ts';
import { writeImage } from './image/oci-layout.ts';
import { copyRuntimeFiles } from './image/runtime-files.ts';
import { debianArchitecture, dependencies } from './package/control-file.ts';
import { sourceDate } from './source-date.ts';

const [dist = 'dist', version = ''] = process.argv.slice(2);
const work = join(dist, 'image');
// Node and the libraries are a layer of their own, which most releases do not change.
const runtime = join(work, 'runtime');
const program = join(work, 'program');
/** As in other images without root. */
const user = 65_532;

await move('usr/lib/nodecertd/node', runtime);
await move('usr/lib/nodecertd', program);
await move('usr/share/doc/nodecertd/copyright', program);
await mkdir(join(program, 'usr/bin'), { recursive: true });
await cp('scripts/image/nodecertd', join(program, 'usr/bin/nodecertd'));
await mkdir(join(runtime, 'etc'));
const root = 'root:x:0:0:root:/root:/sbin/nologin\n';
await put('etc/passwd', `${root}nonroot:x:${user}:${user}:nonroot:/:/sbin/nologin\n`);
await put('etc/group', `root:x:0:\nnonroot:x:${user}:\n`);
await put('etc/nsswitch.conf', 'hosts: files dns\n');

const packages = await copyRuntimeFiles({
  program: join(runtime, 'usr/lib/nodecertd/node'),
  libraries: dependencies(await readFile('systemd/package/control', 'utf8')),
  cache: join(cacheDirectory, 'image-packages'),
  unpacked: join(work, 'unpacked'),
  target: runtime,
});
await writeFile(join(work, 'packages.json'), JSON.stringify(packages));

const date = sourceDate();
const { description, license } = JSON.parse(await readFile('package.json', 'utf8')) as {
  readonly description: string;
  readonly license: string;
};
const labels = Object.fromEntries(
  Object.entries({ title: 'nodecertd', description, version, licenses: license }).map(
    ([name, value]) => [`org.opencontainers.image.${name}`, value],
  ),
);
const architecture = debianArchitecture(process.arch);
const archive = `nodecertd-image_${version}_${architecture}.tar`;
const digest = await writeImage(
  {
    layers: [runtime, program],
    architecture,
    date,
    config: {
      User: `${user}:${user}`,
      // See nodecertd.sh for the reasons.
      Env: [
        'PATH=/usr/bin',
        'MALLOC_ARENA_MAX=1',
        'MALLOC_TRIM_THRESHOLD_=65536',
        'NODE_COMPILE_CACHE=/usr/lib/nodecertd/cache',
        'NODE_COMPILE_CACHE_PORTABLE=1',
        'NODE_OPTIONS=--disable-warning=ExperimentalWarning --max-semi-space-size=4',
      ],
      Entrypoint: ['/usr/bin/nodecertd'],
      Cmd: ['approver'],
      WorkingDir: '/',
      Labels: labels,
    },
    annotations: labels,
    reference: `localhost/nodecertd:${version}`,
  },
  { work, archive: join(dist, archive) },
);
process.stdout.write(`${archive} ${digest}\n`);

async function move(path: string, layer: string): Promise<void> {
  const target = join(layer, path);
  await mkdir(dirname(target), { recursive: true });
  await rename(join(work, 'installed', path), target);
}

async function put(path: string, text: string): Promise<void> {
  await writeFile(join(runtime, path), text);
}
