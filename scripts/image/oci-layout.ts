import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

export interface ImageContent {
  /** Folders with the files of one layer each, the lowest layer first. */
  readonly layers: readonly string[];
  readonly architecture: string;
  /** Replaces the time of the build. */
  readonly date: Date;
  /** The part `config` of the image configuration. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** The name that the image gets when it is imported. */
  readonly reference: string;
}

interface Blob {
  readonly digest: string;
  readonly size: number;
}

interface Layer extends Blob {
  /** The digest of the layer before its compression. */
  readonly diffId: string;
}

const media = (name: string): string => `application/vnd.oci.image.${name}`;

/**
 * Writes an image as an archive of an OCI image layout, and returns the digest of its manifest
 * (https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md). The same content
 * always gives the same bytes.
 */
export async function writeImage(
  image: ImageContent,
  { work, archive }: { readonly work: string; readonly archive: string },
): Promise<string> {
  const { date, architecture, annotations, reference } = image;
  const root = join(work, 'layout');
  await rm(root, { recursive: true, force: true });
  await mkdir(join(root, 'blobs/sha256'), { recursive: true });
  const layers: Layer[] = [];
  for (const folder of image.layers) layers.push(await addLayer(folder, { root, date }));
  const config = await addJson(root, {
    created: instant(date),
    architecture,
    os: 'linux',
    config: image.config,
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    history: layers.map(() => ({ created: instant(date), created_by: 'make image' })),
  });
  const manifest = await addJson(root, {
    schemaVersion: 2,
    mediaType: media('manifest.v1+json'),
    config: { mediaType: media('config.v1+json'), ...config },
    layers: layers.map(({ digest, size }) => ({
      mediaType: media('layer.v1.tar+gzip'),
      digest,
      size,
    })),
    annotations,
  });
  const index = {
    schemaVersion: 2,
    mediaType: media('index.v1+json'),
    manifests: [
      {
        mediaType: media('manifest.v1+json'),
        ...manifest,
        platform: { architecture, os: 'linux' },
        annotations: {
          // containerd and podman read the first one, skopeo the second one.
          'io.containerd.image.name': reference,
          'org.opencontainers.image.ref.name': reference.replace(/^.*:/, ''),
        },
      },
    ],
  };
  await writeFile(join(root, 'index.json'), JSON.stringify(index));
  await writeFile(join(root, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  writeTar(root, { file: archive, date });
  return manifest.digest;
}

async function addLayer(
  folder: string,
  { root, date }: { readonly root: string; readonly date: Date },
): Promise<Layer> {
  const file = join(root, 'layer.tar');
  writeTar(folder, { file, date });
  const diffId = await digestOf(file);
  // Not by zlib of Node, whose output depends on the processor.
  execFileSync('gzip', ['--no-name', file]);
  return { diffId, ...(await addBlob(root, `${file}.gz`)) };
}

async function addJson(root: string, content: object): Promise<Blob> {
  const file = join(root, 'blob.json');
  await writeFile(file, JSON.stringify(content));
  return addBlob(root, file);
}

async function addBlob(root: string, file: string): Promise<Blob> {
  const digest = await digestOf(file);
  const { size } = await stat(file);
  await rename(file, join(root, 'blobs', digest.replace(':', '/')));
  return { digest, size };
}

/** Writes the content of a folder as files of root that only root may write. */
function writeTar(
  folder: string,
  { file, date }: { readonly file: string; readonly date: Date },
): void {
  const owner = ['--owner=0', '--group=0', '--numeric-owner', '--mode=u=rwX,go=rX'];
  const order = ['--format=ustar', '--sort=name', `--mtime=@${date.getTime() / 1_000}`];
  execFileSync('tar', [...order, ...owner, '--directory', folder, '--create', '--file', file, '.']);
}

async function digestOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return `sha256:${hash.digest('hex')}`;
}

/** RFC 3339 without a fraction, as other tools write it. */
function instant(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, 'Z');
}
