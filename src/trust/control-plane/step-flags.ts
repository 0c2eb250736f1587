import { AgentError } from '../../core/errors.ts';
import { flagValue } from '../../pki/components/component-flags.ts';
import { findLocalNode } from '../../pki/inventory/local-inventory.ts';
import { keyFileOf } from '../../pki/layout.ts';
import type { StaticPod, UnitComponent } from './managed-component.ts';
import { isStaticPod } from './managed-component.ts';
import type { CaFile, CaPlaces, RolloverNode } from './node-files.ts';
import { caPath } from './node-files.ts';

/** Flags that name files, by their names without dashes. */
export type FlagPaths = Readonly<Record<string, string>>;

/** The flags of a component that a step changes. */
export interface StepFlags {
  readonly component: 'kube-apiserver' | 'kube-controller-manager';
  readonly wanted: FlagPaths;
  /** As kubeadm writes them. */
  readonly usual: FlagPaths;
}

/** The files that kube-controller-manager signs with, and the CAs that it publishes. */
export interface ManagerFiles {
  readonly signing: CaFile;
  readonly root: CaFile;
}

/** From `trust` to `finish`: `ca.crt` has two CAs, with which nothing can be signed. */
export const rolloverFiles: ManagerFiles = { signing: 'signing', root: 'bundle' };
/** As kubeadm writes them. */
export const usualFiles: ManagerFiles = { signing: 'trusted', root: 'trusted' };

export function managerFlags(files: ManagerFiles, places: CaPlaces): StepFlags {
  return {
    component: 'kube-controller-manager',
    wanted: pathsOf(files, places),
    usual: pathsOf(usualFiles, places),
  };
}

function pathsOf({ signing, root }: ManagerFiles, places: CaPlaces): FlagPaths {
  const certificate = caPath(places, signing);
  return {
    'cluster-signing-cert-file': certificate,
    'cluster-signing-key-file': keyFileOf(certificate),
    'root-ca-file': caPath(places, root),
  };
}

/**
 * The CAs of the clients of kube-apiserver. It reloads the file, but reads the flag only when it starts.
 */
export function serverFlags(file: 'clients' | 'trusted', places: CaPlaces): StepFlags {
  const flag = 'client-ca-file';
  return {
    component: 'kube-apiserver',
    wanted: { [flag]: caPath(places, file) },
    usual: { [flag]: caPath(places, 'trusted') },
  };
}

/** kube-apiserver verifies clients with a file that is neither kubeadm's nor of a rollover. */
export function hasOwnClients(node: CaPlaces & Pick<RolloverNode, 'components'>): boolean {
  const used = clientsFileOf(node);
  return used !== undefined && ![caPath(node, 'trusted'), caPath(node, 'clients')].includes(used);
}

/** The CAs by which kube-apiserver of this node authenticates clients. */
export function clientsFileOf({
  components,
}: Pick<RolloverNode, 'components'>): string | undefined {
  const server = components.find(({ name }) => name === 'kube-apiserver');
  return server && flagValue(server.flags, 'client-ca-file');
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
  wanted: FlagPaths,
): ChangedFlags {
  return Object.entries(wanted).flatMap(([flag, path]) => {
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
  return new AgentError('CONFIG_INVALID', `${component.name} has no flag --${flag}`, {
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
  return new AgentError('CONFIG_INVALID', `${component.name} cannot read ${path}: ${reason}`, {
    remedy,
  });
}

/**
 * The process that runs has the flags for these files. Another drop-in or a wrapper can change them.
 * @throws AgentError CONFIG_INVALID
 */
export async function requireRunningFlags(
  node: CaPlaces,
  { component: name, wanted }: StepFlags,
): Promise<void> {
  const { components } = await findLocalNode(node.directories);
  const component = components.find((one) => one.name === name);
  const wrong = Object.entries(wanted).flatMap(([flag, path]): ChangedFlags => {
    return component && flagValue(component.flags, flag) === path ? [] : [[flag, path]];
  });
  if (wrong.length === 0) return;
  const words = flagWords(wrong).join(' ');
  throw new AgentError('CONFIG_INVALID', `${name} runs without ${words}`, {
    remedy: `Set these flags by hand, and then run this command again: ${words}`,
  });
}
