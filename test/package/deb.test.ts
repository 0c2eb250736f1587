import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, readdir, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { loadConfig } from '../../src/config/load.ts';
import { builtPackage, laterPackage, requirePackages } from '../support/built-packages.ts';
import { skipWithoutContainer } from '../support/container-root.ts';
import { Container } from '../support/nspawn.ts';

const run = promisify(execFile);
const { file } = builtPackage;

let root = '';
before(async () => {
  requirePackages();
  root = await mkdtemp(join(tmpdir(), 'nodecertd-deb-'));
  await run('dpkg-deb', ['--raw-extract', file, root]);
});
after(async () => {
  await rm(root, { recursive: true });
});

interface Listed {
  readonly mode: string;
  readonly owner: string;
  readonly path: string;
}

/** Lists the archive itself, because unpacking changes owners. */
async function listing(): Promise<Listed[]> {
  const { stdout } = await run('dpkg-deb', ['--contents', file], { maxBuffer: 2 ** 24 });
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [mode = '', owner = '', , , , path = ''] = line.split(/\s+/);
      return { mode, owner, path: path.replace(/^\./, '') };
    });
}

async function field(name: string): Promise<string> {
  return (await run('dpkg-deb', ['--field', file, name])).stdout.trim();
}

describe('the Debian package', () => {
  it('has the version of the program and the architecture of the build', async () => {
    assert.equal(await field('Version'), builtPackage.debianVersion);
    const { stdout } = await run('dpkg', ['--print-architecture']);
    assert.equal(await field('Architecture'), stdout.trim());
  });

  it('belongs to root, is writable by root only, and has two executables', async () => {
    const entries = await listing();
    const odd = entries.filter(
      ({ mode, owner }) =>
        owner !== 'root/root' || !/^(?:drwxr-xr-x|-rw-r--r--|-rwxr-xr-x)$/.test(mode),
    );
    assert.deepEqual(odd, []);
    assert.deepEqual(
      entries.filter(({ mode }) => mode === '-rwxr-xr-x').map(({ path }) => path),
      ['/usr/bin/nodecertd', '/usr/lib/nodecertd/node'],
    );
  });

  it('has every file in its place, and no other file', async () => {
    const files = (await listing()).filter(({ mode }) => !mode.startsWith('d'));
    const places = Map.groupBy(files, ({ path }) => dirname(path));
    assert.deepEqual(
      [...places.keys()].filter((path) => !path.startsWith('/usr/lib/nodecertd')).toSorted(),
      [
        '/etc/nodecertd',
        '/usr/bin',
        '/usr/lib/systemd/system',
        '/usr/lib/tmpfiles.d',
        '/usr/share/bash-completion/completions',
        '/usr/share/doc/nodecertd',
        '/usr/share/doc/nodecertd/config',
        '/usr/share/doc/nodecertd/config/approver',
        '/usr/share/doc/nodecertd/config/approver/chart',
        '/usr/share/doc/nodecertd/config/approver/chart/files',
        '/usr/share/doc/nodecertd/config/approver/chart/templates',
        '/usr/share/doc/nodecertd/docs',
        '/usr/share/doc/nodecertd/systemd',
        '/usr/share/fish/vendor_completions.d',
        '/usr/share/lintian/overrides',
        '/usr/share/man/man1',
        '/usr/share/nodecertd',
        '/usr/share/zsh/vendor-completions',
      ],
    );
    const docs = places.get('/usr/share/doc/nodecertd')?.map(({ path }) => path.split('/').at(-1));
    const names = docs?.toSorted();
    assert.deepEqual(names, ['README.md', 'changelog.Debian.gz', 'changelog.gz', 'copyright']);
    for (const folder of ['docs', 'config', 'config/approver']) {
      const packaged = places.get(`/usr/share/doc/nodecertd/${folder}`) ?? [];
      const names = packaged.map(({ path }) => basename(path)).toSorted();
      const files = (await readdir(folder, { withFileTypes: true })).filter((one) => one.isFile());
      assert.deepEqual(names, files.map(({ name }) => name).toSorted());
    }
  });

  it('has one configuration file, which is valid as it is', async () => {
    const path = 'etc/nodecertd/config.yaml';
    assert.equal(await readFile(join(root, 'DEBIAN/conffiles'), 'utf8'), `/${path}\n`);
    const environment = { hostName: 'worker-1', workingDirectory: '/' };
    const config = await loadConfig({ file: join(root, path), flags: {}, environment });
    assert.deepEqual(config.warnings, []);
    assert.equal(config.certificateDirectory, '/var/lib/kubelet/pki');
    const [schema] = /(?<=\$schema=).*/.exec(await readFile(join(root, path), 'utf8')) ?? [];
    const schemaFile = await readFile(join(root, schema ?? ''), 'utf8');
    assert.equal(schemaFile, await readFile('config/config.schema.json', 'utf8'));
  });

  it('has the units of the repository', async () => {
    for (const name of ['nodecertd.service', 'nodecertd-approver.service']) {
      const unit = await readFile(join(root, 'usr/lib/systemd/system', name), 'utf8');
      assert.equal(unit, await readFile(`systemd/${name}`, 'utf8'));
    }
  });

  it('runs where it is unpacked, also through a link', async () => {
    const link = join(root, 'link');
    await symlink('usr/bin/nodecertd', link);
    for (const launcher of [join(root, 'usr/bin/nodecertd'), link]) {
      const { stdout } = await run(launcher, ['version', '-o', 'json']);
      const { version, node } = JSON.parse(stdout) as Record<string, string>;
      assert.deepEqual([version, `v${node}`], [builtPackage.version, process.version]);
    }
  });

  it('has the license of everything in it', async () => {
    const copyright = await readFile(join(root, 'usr/share/doc/nodecertd/copyright'), 'utf8');
    for (const name of ['Node.js 26', 'undici 8', '@peculiar/x509 2', 'valibot 1']) {
      assert.ok(copyright.includes(`\nComment: ${name}.`), name);
    }
  });

  it('has a changelog that begins with its version', async () => {
    const path = join(root, 'usr/share/doc/nodecertd/changelog.Debian.gz');
    const text = gunzipSync(await readFile(path)).toString('utf8');
    assert.ok(text.startsWith(`nodecertd (${builtPackage.debianVersion}) unstable; `));
  });

  it('comes with SHA256SUMS and a bill of materials', async () => {
    const folder = dirname(file);
    await run('sha256sum', ['--check', '--strict', 'SHA256SUMS'], { cwd: folder });
    const sums = await readFile(join(folder, 'SHA256SUMS'), 'utf8');
    const bill = file.replace(/\.deb$/, '.cdx.json');
    assert.ok([file, bill].every((path) => sums.includes(`  ${path.split('/').at(-1)}\n`)));
    const { components } = JSON.parse(await readFile(bill, 'utf8')) as {
      readonly components: readonly { readonly name: string; readonly version: string }[];
    };
    assert.ok(
      components.some(({ name, version }) => name === 'node' && `v${version}` === process.version),
    );
  });

  it('is the same from two builds, for any user in any folder', async () => {
    const elsewhere = await mkdtemp(join(tmpdir(), 'nodecertd again-'));
    try {
      const { version } = laterPackage;
      const make = `umask 077; make deb DIST="${elsewhere}" VERSION=${version} COMPRESSION=0`;
      const env = { ...process.env, TZ: 'Asia/Tokyo', LC_ALL: 'C', MAKEFLAGS: '' };
      await run('bash', ['-c', make], { env, maxBuffer: 2 ** 24 });
      const [again] = (await readdir(elsewhere)).filter((name) => name.endsWith('.deb'));
      assert.equal(await digest(join(elsewhere, again ?? '')), await digest(laterPackage.file));
    } finally {
      await rm(elsewhere, { recursive: true });
    }
  });
});

async function digest(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}

describe('the Debian package on a Debian', { skip: skipWithoutContainer() }, () => {
  let container: Container;
  before(async () => {
    container = await Container.boot();
  });
  after(async () => {
    await container[Symbol.asyncDispose]();
  });

  it('has no lintian error or warning', async () => {
    const inside = await container.take(file);
    const limits = ['--allow-root', '--fail-on', 'error,warning'];
    const { code, stdout, stderr } = await container.run('lintian', ...limits, inside);
    assert.deepEqual([code, stdout, stderr], [0, '', '']);
  });

  it('depends on every library that Node needs', async () => {
    const node = join(root, 'usr/lib/nodecertd/node');
    const { stdout } = await run('readelf', ['--dynamic', '--version-info', '--wide', node], {
      maxBuffer: 2 ** 26,
    });
    const wanted = [...stdout.matchAll(/\(NEEDED\)\s+Shared library: \[(.+)\]/g)];
    const paths = wanted.map(([, name]) => `*/${name ?? ''}`);
    const owners = await container.must('dpkg-query', '--search', ...paths);
    const packages = new Set(owners.match(/^[^:,]+/gm));
    const depends = (await field('Depends')).match(/(?<=^|, )[^ ,]+/g);
    assert.ok(wanted.length >= 6, `${wanted.length} libraries`);
    assert.deepEqual([...packages].toSorted(), depends?.toSorted());

    const versions = [...stdout.matchAll(/Name: GLIBC_(2\.\d+)/g)].map(([, one]) =>
      Number(one?.slice(2)),
    );
    assert.match(await field('Depends'), new RegExp(`libc6 \\(>= 2\\.${Math.max(...versions)}\\)`));
  });
});
