import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { debianArchitecture } from '../../scripts/package/control-file.ts';
import {
  containerRoot,
  nodeLayer,
  nodePackages,
  skipWithoutContainer,
} from '../support/container-root.ts';
import { skipWithoutGoProgram } from '../support/go-program.ts';
import { skipWithoutKubeadm } from '../support/kubeadm.ts';
import { nodeRuntime } from '../support/kubeadm-node.ts';
import { createBridge } from '../support/node-network.ts';
import { imageStore, nodeImages } from '../support/node-images.ts';
import type { NodeImage } from '../support/node-images.ts';
import { Container } from '../support/nspawn.ts';
import { skipWithout } from '../support/programs.ts';
import { run, say } from './build-steps.ts';

/**
 * `make kubeadm-node` creates what the nodes of a kubeadm cluster share: a layer over the
 * root of the containers with the packages of a node, and the images of the static pods.
 */
/** The folder of the programs in an image. */
const binaries = '/usr/local/bin';

/** The mount exists only in the mount namespace of the script. */
const installation = `
upper=$1 work=$2 root=$3 lower=$4; shift 4
mount -t overlay -o "lowerdir=$lower,upperdir=$upper,workdir=$work" overlay "$root"
cp /etc/resolv.conf "$root/etc/resolv.conf"
apt_get() { chroot "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 apt-get --quiet "$@"; }
apt_get update
apt_get install --yes --no-install-recommends "$@"
apt_get clean`;

const obstacle =
  skipWithoutContainer() ||
  skipWithoutKubeadm() ||
  skipWithoutGoProgram('pause') ||
  skipWithout('ip');
if (obstacle === false) {
  await once(nodeLayer(), buildLayer);
  await once(imageStore(), buildStore);
} else {
  say(`skipped: ${obstacle}`);
}

/** Builds in another folder, because an interrupted build must not look complete. */
async function once(target: string, build: (work: string) => Promise<string>): Promise<void> {
  if (existsSync(target)) return;
  const work = await mkdtemp(join(dirname(target), 'unfinished-'));
  try {
    await rename(await build(work), target);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function buildLayer(work: string): Promise<string> {
  say('Installing containerd and the other packages of a node (once, about half a minute) ...');
  const folders = ['upper', 'work', 'root'].map((name) => join(work, name));
  for (const folder of folders) await mkdir(folder);
  const args = [...folders, containerRoot(), ...nodePackages];
  run(['unshare', '--mount', 'sh', '-ec', installation, 'sh', ...args]);
  const upper = join(work, 'upper');
  for (const file of ['etc/resolv.conf', 'var/lib/apt/lists', 'var/cache/apt']) {
    await rm(join(upper, file), { recursive: true, force: true });
  }
  return upper;
}

async function buildStore(work: string): Promise<string> {
  say('Making the images of the static pods (once, about 20 seconds) ...');
  const tars = join(work, 'tars');
  await mkdir(tars);
  for (const image of nodeImages()) await writeImage(image, tars);
  await using bridge = await createBridge(work);
  await using container = await Container.boot({
    ...nodeRuntime(bridge),
    parent: work,
    mounts: { '/images': tars },
  });
  for (const image of nodeImages()) {
    await container.must(
      'ctr',
      '--namespace=k8s.io',
      'images',
      'import',
      `/images/${tarName(image)}`,
    );
  }
  await container.stop();
  const store = join(work, 'store');
  await rename(container.path('/var/lib/containerd'), store);
  return store;
}

/** An archive as `docker save` writes it: one layer, its configuration, and a manifest. */
async function writeImage(image: NodeImage, target: string): Promise<void> {
  const { reference, directory, programs } = image;
  const parts = await mkdtemp(join(target, 'parts-'));
  const layer = join(parts, 'layer.tar');
  const plain = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner'];
  const folder = `--transform=s,^,${binaries.slice(1)}/,`;
  run(['tar', ...plain, folder, '-C', directory, '-cf', layer, ...programs]);
  const configuration = {
    architecture: debianArchitecture(process.arch),
    os: 'linux',
    config: {
      Env: [`PATH=${binaries}`],
      Entrypoint: [`${binaries}/${programs[0]}`],
      WorkingDir: '/',
    },
    rootfs: { type: 'layers', diff_ids: [`sha256:${await sha256(layer)}`] },
  };
  const manifest = [{ Config: 'config.json', RepoTags: [reference], Layers: [basename(layer)] }];
  await writeFile(join(parts, 'config.json'), JSON.stringify(configuration));
  await writeFile(join(parts, 'manifest.json'), JSON.stringify(manifest));
  const files = ['manifest.json', 'config.json', basename(layer)];
  run(['tar', '-C', parts, '-cf', join(target, tarName(image)), ...files]);
  await rm(parts, { recursive: true });
}

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}

function tarName({ programs }: NodeImage): string {
  return `${programs[0]}.tar`;
}
