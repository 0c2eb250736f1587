import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { writeImage } from '../../../scripts/image/oci-layout.ts';

let folder = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nodecertd-layout-'));
});
after(async () => {
  await rm(folder, { recursive: true });
});

interface Descriptor {
  readonly digest: string;
  readonly size: number;
  readonly annotations: Readonly<Record<string, string>>;
}

/** An image with one layer, whose files were created in this order. */
async function build(name: string, files: readonly string[], mode: number): Promise<string> {
  const work = join(folder, name);
  const layer = join(work, 'layer');
  await mkdir(join(layer, 'etc'), { recursive: true });
  for (const file of files) {
    await writeFile(join(layer, 'etc', file), `${file}\n`);
    await chmod(join(layer, 'etc', file), mode);
  }
  const archive = join(work, 'image.tar');
  const content = { layers: [layer], architecture: 'amd64', config: { User: '65532' } };
  const date = new Date('2026-01-02T03:04:05Z');
  const annotations = { 'org.opencontainers.image.version': '1.2.3' };
  const image = { ...content, date, annotations, reference: 'localhost/nodecertd:1.2.3' };
  const digest = await writeImage(image, { work, archive });
  const unpacked = join(work, 'unpacked');
  await mkdir(unpacked);
  execFileSync('tar', ['--extract', '--file', archive, '--directory', unpacked]);
  const index = JSON.parse(await readFile(join(unpacked, 'index.json'), 'utf8')) as {
    readonly manifests: readonly Descriptor[];
  };
  assert.equal(index.manifests[0]?.digest, digest);
  return work;
}

async function blob(work: string, { digest }: Descriptor): Promise<Buffer> {
  return readFile(join(work, 'unpacked/blobs', digest.replace(':', '/')));
}

describe('writeImage()', () => {
  it('gives the same bytes whatever the order and the modes of the files', async () => {
    const works = [await build('a', ['b', 'a'], 0o600), await build('b', ['a', 'b'], 0o666)];
    const [one, other] = await Promise.all(
      works.map(async (work) => readFile(join(work, 'image.tar'))),
    );
    assert.ok(one !== undefined && other !== undefined && one.equals(other));
  });

  it('names each blob by its digest, and the layer by that of its content', async () => {
    const work = await build('c', ['a'], 0o644);
    const blobs = join(work, 'unpacked/blobs/sha256');
    for (const name of await readdir(blobs))
      assert.equal(sha256(await readFile(join(blobs, name))), name);
    const index = JSON.parse(await readFile(join(work, 'unpacked/index.json'), 'utf8')) as {
      readonly manifests: readonly [Descriptor];
    };
    const [described] = index.manifests;
    assert.equal(described.annotations['io.containerd.image.name'], 'localhost/nodecertd:1.2.3');
    assert.equal(described.annotations['org.opencontainers.image.ref.name'], '1.2.3');
    const manifest = JSON.parse((await blob(work, described)).toString()) as {
      readonly config: Descriptor;
      readonly layers: readonly [Descriptor];
    };
    const config = JSON.parse((await blob(work, manifest.config)).toString()) as {
      readonly created: string;
      readonly rootfs: { readonly diff_ids: readonly string[] };
    };
    const [layer] = manifest.layers;
    const compressed = await blob(work, layer);
    assert.equal(layer.size, compressed.length);
    assert.deepEqual(config.rootfs.diff_ids, [`sha256:${sha256(gunzipSync(compressed))}`]);
    assert.equal(config.created, '2026-01-02T03:04:05Z');
  });
});

function sha256(data: Buffer): string {
  return createHash('sha256').update(data).digest('hex');
}
