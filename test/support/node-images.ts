import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { nodeLayer } from './container-root.ts';
import { goProgramDirectory } from './go-program.ts';
import { kubeadmProgram } from './kubeadm.ts';
import {
  cacheDirectory,
  controlPlaneDirectory,
  goModuleDirectory,
  kubernetesVersion,
  shortDigest,
} from './programs.ts';

/** The images of the static pods. Each contains programs that were built for the tests. */
export interface NodeImage {
  /** As kubeadm writes it into a manifest. */
  readonly reference: string;
  /** The folder of its programs on the host. */
  readonly directory: string;
  /** The first one is what the image runs. */
  readonly programs: readonly [string, ...string[]];
}

const contents: Readonly<Record<string, Omit<NodeImage, 'reference'>>> = {
  'kube-apiserver': { directory: controlPlaneDirectory(), programs: ['kube-apiserver'] },
  'kube-controller-manager': {
    directory: controlPlaneDirectory(),
    programs: ['kube-controller-manager'],
  },
  'kube-scheduler': { directory: controlPlaneDirectory(), programs: ['kube-scheduler'] },
  etcd: { directory: controlPlaneDirectory(), programs: ['etcd', 'etcdctl'] },
  pause: { directory: goProgramDirectory, programs: ['pause'] },
};

/** kubeadm knows the tags. Its list also has kube-proxy and CoreDNS, which the cluster does without. */
export function nodeImages(): NodeImage[] {
  const version = `--kubernetes-version=${kubernetesVersion()}`;
  const list = execFileSync(kubeadmProgram(), ['config', 'images', 'list', version], {
    encoding: 'utf8',
  });
  return list
    .trim()
    .split('\n')
    .flatMap((reference) => {
      const content = contents[basename(reference).replace(/:.*/, '')];
      return content === undefined ? [] : [{ reference, ...content }];
    });
}

/** The image that holds the namespaces of each pod. */
export function pauseReference(): string {
  const found = nodeImages().find(({ programs }) => programs[0] === 'pause');
  if (found === undefined) throw new Error('kubeadm lists no pause image');
  return found.reference;
}

/** A folder of containerd with the images in it, which `make kubeadm-node` creates. */
export function imageStore(): string {
  const pause = readFileSync(join(goModuleDirectory, 'real/pause/main.go'));
  const digest = shortDigest(controlPlaneDirectory(), nodeLayer(), pause);
  return join(cacheDirectory, 'containers', `images-${digest}`);
}
