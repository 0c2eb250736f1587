import type { Component, ComponentName } from '../../pki/components/component.ts';
import { fileReferences } from '../../pki/components/file-references.ts';
import type { ComponentPlaces } from '../../pki/components/find-components.ts';
import { findComponents } from '../../pki/components/find-components.ts';
import { keyFileOf } from '../../pki/layout.ts';
import { linkTarget } from '../../store/link-target.ts';
import { exists } from '../../sys/exists.ts';

/** The CA files and kubeconfigs of the control plane of this machine. */
export interface ControlPlaneFiles {
  readonly components: readonly Component[];
  readonly authorities: readonly string[];
  readonly kubeconfigs: readonly string[];
}

/** A component with one of these names verifies clients or signs certificates with its CA files. */
const servers: ReadonlySet<ComponentName> = new Set([
  'kube-apiserver',
  'etcd',
  'kube-controller-manager',
]);

/** Empty on a worker. Never rejects. */
export async function controlPlaneFiles(places: ComponentPlaces): Promise<ControlPlaneFiles> {
  const { components } = await findComponents(places);
  const { references } = await fileReferences(components);
  const authorities = references
    .filter(({ component, kind }) => kind === 'authority' && servers.has(component))
    .map(({ path }) => path);
  const kubeconfigs = references
    .filter(({ kind }) => kind === 'kubeconfig')
    .map(({ path }) => path);
  return {
    components,
    authorities: [...new Set(authorities)],
    kubeconfigs: [...new Set(kubeconfigs)],
  };
}

/**
 * True for a CA file of the control plane. A second certificate in the file that signs would stop
 * all signing, so the key beside a file counts too: the components may be stopped.
 */
export async function isControlPlaneFile(
  path: string,
  { authorities }: Pick<ControlPlaneFiles, 'authorities'>,
): Promise<boolean> {
  const target = await targetOf(path);
  const targets = await Promise.all(authorities.map(targetOf));
  return targets.includes(target) || (await hasKey(path)) || hasKey(target);
}

/** The path itself, if its links cannot be read. */
async function targetOf(path: string): Promise<string> {
  return linkTarget(path).catch(() => path);
}

async function hasKey(path: string): Promise<boolean> {
  const key = keyFileOf(path);
  return key !== path && exists(key);
}
