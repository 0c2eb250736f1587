import { join } from 'node:path';
import { AgentError } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { flagValue } from '../../pki/components/component-flags.ts';
import type { Component, ComponentName } from '../../pki/components/component.ts';
import { withFlags } from '../../pki/components/manifest-flags.ts';
import { keyFileOf } from '../../pki/layout.ts';
import { plannedFile } from '../../pki/renewal/planned-file.ts';
import { withAnnotation } from '../../pki/renewal/restart.ts';
import type { CaFile, CaPlaces, RolloverNode } from './node-files.ts';
import { caPath } from './node-files.ts';
import type { Replacement } from './replacement.ts';
import { replacement } from './replacement.ts';

/** The files that kube-controller-manager signs with, and the CAs that it publishes. */
export interface ManagerFiles {
  readonly signing: CaFile;
  readonly root: CaFile;
}

/** From `trust` to `finish`: `ca.crt` has two CAs, with which nothing can be signed. */
export const rolloverFiles: ManagerFiles = { signing: 'signing', root: 'bundle' };
/** As kubeadm writes them. */
export const usualFiles: ManagerFiles = { signing: 'trusted', root: 'trusted' };

/** The flags of kube-controller-manager for these files, by their names without dashes. */
export function flagsFor(
  { signing, root }: ManagerFiles,
  places: CaPlaces,
): Record<string, string> {
  const certificate = caPath(places, signing);
  return {
    'cluster-signing-cert-file': certificate,
    'cluster-signing-key-file': keyFileOf(certificate),
    'root-ca-file': caPath(places, root),
  };
}

/**
 * The manifest of kube-controller-manager with the flags for these files. The change restarts it, and
 * is marked like any other restart.
 * @throws AgentError CONFIG_INVALID if a flag or the manifest cannot be changed
 */
export async function managerManifest(
  node: RolloverNode,
  files: ManagerFiles,
  now: Instant,
): Promise<Replacement> {
  const component = staticPod(node, 'kube-controller-manager');
  const { manifest, container } = component.source;
  const wanted = insidePaths(node, component, flagsFor(files, node));
  const changed = Object.entries(wanted).filter(
    ([flag, path]) => flagValue(component.flags, flag) !== path,
  );
  const edited = (before: Uint8Array = new Uint8Array()): Uint8Array<ArrayBuffer> => {
    const text = withFlags(Buffer.from(before).toString(), container, Object.fromEntries(changed));
    const result = text && withAnnotation(text, new Date(now).toISOString());
    if (result === undefined) throw uneditable(manifest, changed);
    return new Uint8Array(Buffer.from(result));
  };
  // Fails before the first file of the step is written.
  if (changed.length > 0) edited((await plannedFile(node.tree, manifest)).before?.bytes);
  return replacement({
    tree: node.tree,
    path: manifest,
    content: changed.map(([flag, path]) => `--${flag}=${path}`).join(' '),
    mode: '0600',
    isDone: changed.length === 0,
    bytes: async (before) => edited(before),
  });
}

type StaticPod = Component & { readonly source: { readonly kind: 'static-pod' } };

/** @throws AgentError CONFIG_INVALID */
export function staticPod(
  { components, directories }: RolloverNode,
  name: ComponentName,
): StaticPod {
  const component = components.find((one) => one.name === name);
  if (isStaticPod(component)) return component;
  const manifests = join(directories.kubernetes, 'manifests');
  const found = component === undefined ? 'does not run on this node' : 'is not a static pod';
  throw new AgentError('CONFIG_INVALID', `${name} ${found}`, {
    remedy: `Run this command on a control-plane node whose manifests are in ${manifests}; apply supports no other control planes`,
  });
}

function isStaticPod(component: Component | undefined): component is StaticPod {
  return component?.source.kind === 'static-pod';
}

/** The paths in the container, which kubeadm mounts at the same place. */
function insidePaths(
  node: RolloverNode,
  { flags, hostPath, source }: StaticPod,
  wanted: Readonly<Record<string, string>>,
): Record<string, string> {
  const paths = Object.entries(wanted).map(([flag, outside]) => {
    const value = flagValue(flags, flag);
    if (value === undefined) {
      throw new AgentError('CONFIG_INVALID', `kube-controller-manager has no flag --${flag}`, {
        remedy: `Add --${flag}=${caPath(node, 'trusted')} to ${source.manifest}, as kubeadm does`,
      });
    }
    if (hostPath(outside) !== outside) throw unreachable(outside, source.manifest);
    return [flag, outside];
  });
  return Object.fromEntries(paths) as Record<string, string>;
}

function unreachable(path: string, manifest: string): AgentError {
  return new AgentError(
    'CONFIG_INVALID',
    `kube-controller-manager cannot read ${path}: no volume in ${manifest} has this path`,
    { remedy: `Mount the folder of ${path} at the same path in ${manifest}` },
  );
}

function uneditable(
  manifest: string,
  flags: readonly (readonly [name: string, value: string])[],
): AgentError {
  const wanted = flags.map(([name, value]) => `--${name}=${value}`).join(' ');
  return new AgentError('CONFIG_INVALID', `the flags in ${manifest} cannot be changed`, {
    remedy: `Write each of these flags and its value as one entry of the command: ${wanted}`,
  });
}
