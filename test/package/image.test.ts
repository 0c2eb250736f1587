import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { version } from '../../src/core/version.ts';
import { builtImage, skipWithoutImage } from '../support/built-image.ts';
import { skip as skipBecause } from '../support/programs.ts';

const run = promisify(execFile);
const { archive, reference } = builtImage;
const skip = skipWithoutImage();
const withoutRoot = process.getuid?.() === 0 ? false : skipBecause('chroot to the image: no root');

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

interface Manifest {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly annotations: Readonly<Record<string, string>>;
}

interface Configuration {
  readonly User: string;
  readonly Env: readonly string[];
  readonly Entrypoint: readonly string[];
  readonly Cmd: readonly string[];
  readonly Labels: Readonly<Record<string, string>>;
}

interface File {
  readonly mode: string;
  readonly owner: string;
  readonly path: string;
}

interface Component {
  readonly name: string;
  readonly version: string;
  readonly purl: string;
}

describe('the OCI image', { skip }, () => {
  let folder = '';
  let root = '';
  let layout = '';
  let index: Descriptor | undefined;
  let manifest: Manifest;
  let configuration: Configuration;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'nodecertd-image-'));
    [root, layout] = [join(folder, 'root'), join(folder, 'layout')];
    for (const one of [root, layout]) await mkdir(one);
    await run('tar', ['--extract', '--file', archive, '--directory', layout]);
    const { manifests } = JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')) as {
      readonly manifests: readonly Descriptor[];
    };
    [index] = manifests;
    assert.ok(index !== undefined);
    manifest = JSON.parse(await readFile(blob(index), 'utf8')) as Manifest;
    const text = await readFile(blob(manifest.config), 'utf8');
    configuration = (JSON.parse(text) as { readonly config: Configuration }).config;
    for (const layer of manifest.layers) {
      await run('tar', ['--extract', '--gzip', '--file', blob(layer), '--directory', root]);
    }
  });
  after(async () => {
    await rm(folder, { recursive: true });
  });

  function blob({ digest }: Descriptor): string {
    return join(layout, 'blobs', digest.replace(':', '/'));
  }

  /** Lists the layers themselves, because unpacking changes owners. */
  async function files(): Promise<File[]> {
    const lists = await Promise.all(
      manifest.layers.map(async (layer) => {
        const flags = ['--list', '--verbose', '--numeric-owner', '--gzip', '--file', blob(layer)];
        return (await run('tar', flags, { maxBuffer: 2 ** 24 })).stdout.trimEnd().split('\n');
      }),
    );
    return lists.flat().map((line) => {
      const [mode = '', owner = '', , , , path = ''] = line.split(/\s+/);
      return { mode, owner, path: path.replace(/^\./, '') };
    });
  }

  async function inImage(
    args: readonly string[],
    environment: Readonly<Record<string, string>> = {},
  ): Promise<{ readonly stdout: string; readonly stderr: string }> {
    const own = Object.fromEntries(configuration.Env.map((line) => line.split(/=(.*)/s)));
    const user = `--userspec=${configuration.User}`;
    return run('/usr/sbin/chroot', [user, root, ...configuration.Entrypoint, ...args], {
      env: { ...own, ...environment } as NodeJS.ProcessEnv,
    });
  }

  it('has a name, labels, and blobs with the digests of their names', async () => {
    assert.equal(index?.annotations?.['io.containerd.image.name'], reference);
    const blobs = join(layout, 'blobs/sha256');
    for (const name of await readdir(blobs)) assert.equal(await sha256(join(blobs, name)), name);
    const prefix = 'org.opencontainers.image';
    const { [`${prefix}.version`]: its, [`${prefix}.licenses`]: license } = configuration.Labels;
    assert.deepEqual([its, license], [version, 'Apache-2.0']);
    assert.deepEqual(manifest.annotations, configuration.Labels);
    assert.doesNotMatch(JSON.stringify(manifest.annotations), /https?:/);
  });

  it('runs nodecertd as a user without rights', () => {
    const { User, Entrypoint, Cmd } = configuration;
    assert.deepEqual(
      [User, Entrypoint, Cmd],
      ['65532:65532', ['/usr/bin/nodecertd'], ['approver']],
    );
  });

  it('starts Node with the flags and variables of the launcher', async () => {
    const launcher = await readFile('scripts/nodecertd.sh', 'utf8');
    const [, flags] = /^approver\) exec "\$lib\/node" (.*) "\$lib\/main\.js"/m.exec(launcher) ?? [];
    const exported = [...launcher.matchAll(/^export (.*)$/gm)].flatMap(([, line = '']) =>
      line.split(' ').map((one) => one.replace('"$lib/cache"', '/usr/lib/nodecertd/cache')),
    );
    assert.deepEqual(configuration.Env, ['PATH=/usr/bin', ...exported, `NODE_OPTIONS=${flags}`]);
  });

  it('has files that only root may write, without setuid, shell or package manager', async () => {
    const all = await files();
    const odd = all.filter(
      ({ mode, owner }) =>
        owner !== '0/0' || !/^(?:drwxr-xr-x|-rw-r--r--|-rwxr-xr-x|l.{9})$/.test(mode),
    );
    assert.deepEqual(odd, []);
    const executables = all.filter(({ mode }) => mode === '-rwxr-xr-x');
    const programs = executables.map(({ path }) => path).filter((path) => !path.includes('.so.'));
    assert.deepEqual(programs.toSorted(), ['/usr/bin/nodecertd', '/usr/lib/nodecertd/node']);
  });

  it('has every file in its place, and no other file', async () => {
    const paths = (await files()).filter(({ mode }) => mode.startsWith('-'));
    const places = new Set(
      paths.map(({ path }) =>
        dirname(path)
          .replace(/(?<=^\/usr\/share\/doc\/)(?!nodecertd$).*/, 'PACKAGE')
          .replace(/(?<=\/lib\/)[a-z0-9_]+-linux-gnu$/, 'ARCHITECTURE')
          .replace(/(?<=\/cache\/).*/, 'VERSION')
          .replace(/^\/lib\//, '/usr/lib/'),
      ),
    );
    assert.deepEqual([...places].toSorted(), [
      '/etc',
      '/usr/bin',
      '/usr/lib',
      '/usr/lib/ARCHITECTURE',
      '/usr/lib/nodecertd',
      '/usr/lib/nodecertd/cache/VERSION',
      '/usr/share/common-licenses',
      '/usr/share/doc/PACKAGE',
      '/usr/share/doc/nodecertd',
      '/var/lib/dpkg/status.d',
    ]);
    assert.deepEqual((await readdir(join(root, 'etc'))).toSorted(), [
      'group',
      'nsswitch.conf',
      'os-release',
      'passwd',
    ]);
  });

  it('has no private key', async () => {
    const paths = await readdir(root, { recursive: true });
    for (const path of paths.filter((one) => one !== 'usr/lib/nodecertd/node')) {
      const file = join(root, path);
      if (!(await stat(file)).isFile()) continue;
      const text = await readFile(file, 'latin1');
      assert.doesNotMatch(text, /PRIVATE KEY-----(?:\\n|\s)+[A-Za-z0-9+/]{32}/, path);
    }
  });

  it(
    'runs with its own files alone, and from its compile cache',
    { skip: withoutRoot },
    async () => {
      const { stdout } = await inImage(['version', '-o', 'json']);
      const { version: its, node } = JSON.parse(stdout) as Record<string, string>;
      assert.deepEqual([its, `v${node}`], [version, process.version]);
      const outside = inImage(['approver'], { NODE_DEBUG_NATIVE: 'COMPILE_CACHE' });
      await assert.rejects(outside, (error: { readonly code: number; readonly stderr: string }) => {
        assert.equal(error.code, 1);
        assert.match(error.stderr, /this process does not run in a pod \(KUBECONFIG_MISSING\)/);
        assert.match(error.stderr, /was accepted/);
        const unused = /^.*\/usr\/lib\/nodecertd\/.* was (?:not initialized|rejected).*$/m;
        assert.doesNotMatch(error.stderr, unused);
        return true;
      });
    },
  );

  it('comes with SHA256SUMS and a bill of materials of its packages', async () => {
    await run('sha256sum', ['--check', '--strict', 'SHA256SUMS'], { cwd: dirname(archive) });
    const sums = await readFile(join(dirname(archive), 'SHA256SUMS'), 'utf8');
    const bill = archive.replace(/\.tar$/, '.cdx.json');
    assert.ok([archive, bill].every((path) => sums.includes(`  ${basename(path)}\n`)));
    const { components } = JSON.parse(await readFile(bill, 'utf8')) as {
      readonly components: readonly Component[];
    };
    const listed = components.map(({ name, version: its }) => `${name} ${its}`);
    assert.ok(listed.includes(`node ${process.versions.node}`));
    assert.ok(components.some(({ purl }) => purl.startsWith('pkg:npm/undici@')));
    const status = join(root, 'var/lib/dpkg/status.d');
    const installed = await Promise.all(
      (await readdir(status)).map(async (name) => {
        const text = await readFile(join(status, name), 'utf8');
        return `${name} ${/^Version: (.*)$/m.exec(text)?.[1]}`;
      }),
    );
    const debian = components.filter(({ purl }) => purl.startsWith('pkg:deb/debian/'));
    assert.deepEqual(
      debian.map(({ name, version: its }) => `${name} ${its}`).toSorted(),
      installed.toSorted(),
    );
    assert.ok(debian.some(({ name }) => name === 'libc6'));
  });

  it('has a license for each Debian package, and for everything in nodecertd', async () => {
    const documentation = join(root, 'usr/share/doc');
    for (const name of await readdir(documentation)) {
      assert.ok((await stat(join(documentation, name, 'copyright'))).size > 0, name);
    }
    const own = await readFile(join(documentation, 'nodecertd/copyright'), 'utf8');
    for (const name of ['Node.js', 'undici', 'valibot'])
      assert.match(own, new RegExp(`^Comment: ${name} `, 'm'));
  });

  it('is the same from two builds, for any user in any folder', async () => {
    const elsewhere = await mkdtemp(join(tmpdir(), 'nodecertd again-'));
    try {
      const env = { ...process.env, TZ: 'Asia/Tokyo', LC_ALL: 'C', MAKEFLAGS: '' };
      const make = `umask 077; make image DIST="${elsewhere}"`;
      await run('bash', ['-c', make], { env, maxBuffer: 2 ** 24 });
      assert.equal(await sha256(join(elsewhere, basename(archive))), await sha256(archive));
    } finally {
      await rm(elsewhere, { recursive: true });
    }
  });
});

async function sha256(path: string): Promise<string> {
  const data = await readFile(path);
  return createHash('sha256').update(data).digest('hex');
}
