import { AgentError } from '../../core/errors.ts';
import { flagValue } from '../../pki/components/component-flags.ts';
import { findLocalNode } from '../../pki/inventory/local-inventory.ts';
import { keyFileOf } from '../../pki/layout.ts';
import type { StaticPod, UnitComponent } from './managed-component.ts';
import { isStaticPod } from './managed-component.ts';
import type { CaFile, CaPlaces } from './node-files.ts';
import { caPath } from './node-files.ts';

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

/** The flags with another value than for these files, and the value that each needs. */
export type ChangedFlags = readonly (readonly [name: string, path: string])[];

/**
 * The process has to see the files at the paths on the node.
 * @throws AgentError CONFIG_INVALID
 */
export function changedFlags(
  node: CaPlaces,
  component: StaticPod | UnitComponent,
  files: ManagerFiles,
): ChangedFlags {
  return Object.entries(flagsFor(files, node)).flatMap(([flag, path]) => {
    const value = flagValue(component.flags, flag);
    if (value === undefined) throw withoutFlag(flag, component, node);
    if (component.hostPath(path) !== path) throw unreachable(path, component);
    return value === path ? [] : [[flag, path] as const];
  });
}

/** As in `--root-ca-file=/etc/kubernetes/pki/ca.crt`. */
export function flagWords(flags: ChangedFlags): string[] {
  return flags.map(([name, path]) => `--${name}=${path}`);
}

/** The file in which the flags are written. */
function placeOf({ source }: StaticPod | UnitComponent): string {
  return source.kind === 'static-pod' ? source.manifest : source.unit;
}

function withoutFlag(
  flag: string,
  component: StaticPod | UnitComponent,
  node: CaPlaces,
): AgentError {
  return new AgentError('CONFIG_INVALID', `kube-controller-manager has no flag --${flag}`, {
    remedy: `Add --${flag}=${caPath(node, 'trusted')} to ${placeOf(component)}, as kubeadm does`,
  });
}

function unreachable(path: string, component: StaticPod | UnitComponent): AgentError {
  const place = placeOf(component);
  const [reason, remedy] = isStaticPod(component)
    ? [
        `no volume in ${place} has this path`,
        `Mount the folder of ${path} at the same path in ${place}`,
      ]
    : [
        `${place} mounts other files there`,
        `Remove the setting of ${place} that hides ${path}, such as RootDirectory=, BindPaths= or InaccessiblePaths=: systemctl edit --full ${place}`,
      ];
  return new AgentError(
    'CONFIG_INVALID',
    `kube-controller-manager cannot read ${path}: ${reason}`,
    { remedy },
  );
}

/**
 * The process that runs has the flags for these files. Another drop-in or a wrapper can change them.
 * @throws AgentError CONFIG_INVALID
 */
export async function requireRunningFlags(node: CaPlaces, files: ManagerFiles): Promise<void> {
  const { components } = await findLocalNode(node.directories);
  const component = components.find(({ name }) => name === 'kube-controller-manager');
  const wrong = Object.entries(flagsFor(files, node)).flatMap(([flag, path]): ChangedFlags => {
    return component && flagValue(component.flags, flag) === path ? [] : [[flag, path]];
  });
  if (wrong.length === 0) return;
  const words = flagWords(wrong).join(' ');
  throw new AgentError('CONFIG_INVALID', `kube-controller-manager runs without ${words}`, {
    remedy: `Set these flags by hand, and then run this command again: ${words}`,
  });
}
