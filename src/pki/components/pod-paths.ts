import { isAbsolute, join, normalize, relative, resolve } from 'node:path';
import { isBelow } from './mount-table.ts';
import type { Container, PodSpec } from './static-pods.ts';

/**
 * The path on the node of a path in a container. Undefined if the file is in the image, or in a
 * volume that is not a hostPath volume.
 */
export function nodePath(
  { workingDir, volumeMounts }: Pick<Container, 'workingDir' | 'volumeMounts'>,
  volumes: PodSpec['volumes'],
  inside: string,
): string | undefined {
  const seen = resolve('/', workingDir, inside);
  const mounts = volumeMounts.filter(({ mountPath }) => isBelow(seen, resolve('/', mountPath)));
  // A mount inside another one hides a part of it.
  const [mount] = mounts.toSorted((a, b) => b.mountPath.length - a.mountPath.length);
  // The kubelet expands subPathExpr with variables that may be known only to the pod.
  if (mount === undefined || mount.subPathExpr !== '') return undefined;
  const base = volumes.find(({ name }) => name === mount.name)?.hostPath?.path;
  if (base === undefined || !isAbsolute(base)) return undefined;
  const rest = relative(resolve('/', mount.mountPath), seen);
  // Kubernetes rejects a subPath with `..`.
  const path = normalize(join(base, join('/', mount.subPath), rest)).replace(/(.)\/$/, '$1');
  // No file has such a name, so the container does not start.
  return path.includes('\0') ? undefined : path;
}
