import { resolve } from 'node:path';
import { isMap } from './known-keys.ts';
import type { ConfigPath } from './problem.ts';
import { formatPath } from './problem.ts';

/** Command line flags as text. Each replaces one key of the file. */
export interface ConfigFlags {
  readonly kubeconfig?: string | undefined;
  readonly bootstrapKubeconfig?: string | undefined;
  readonly certDir?: string | undefined;
  readonly hostnameOverride?: string | undefined;
  readonly metricsAddress?: string | undefined;
  readonly logLevel?: string | undefined;
  readonly logFormat?: string | undefined;
  readonly stateDir?: string | undefined;
  readonly kubeletConfig?: string | undefined;
  readonly kubeletConfigDir?: string | undefined;
}

interface FlagTarget {
  readonly flag: string;
  readonly path: readonly string[];
  readonly isPath?: true;
}

export const flagTargets: Readonly<Record<keyof ConfigFlags, FlagTarget>> = {
  kubeconfig: { flag: '--kubeconfig', path: ['kubeconfig'], isPath: true },
  bootstrapKubeconfig: {
    flag: '--bootstrap-kubeconfig',
    path: ['bootstrapKubeconfig'],
    isPath: true,
  },
  certDir: { flag: '--cert-dir', path: ['certificateDirectory'], isPath: true },
  hostnameOverride: { flag: '--hostname-override', path: ['nodeName'] },
  metricsAddress: { flag: '--metrics-address', path: ['metrics', 'address'] },
  logLevel: { flag: '--log-level', path: ['log', 'level'] },
  logFormat: { flag: '--log-format', path: ['log', 'format'] },
  stateDir: { flag: '--state-dir', path: ['stateDirectory'], isPath: true },
  kubeletConfig: { flag: '--kubelet-config', path: ['kubelet', 'configFile'], isPath: true },
  kubeletConfigDir: {
    flag: '--kubelet-config-dir',
    path: ['kubelet', 'configDirectory'],
    isPath: true,
  },
};

/**
 * Replaces values of the file with those of flags. Paths in flags are relative to the working
 * directory.
 */
export function overlayFlags(
  file: unknown,
  flags: ConfigFlags,
  workingDirectory: string,
): { readonly value: unknown; readonly flagFor: (path: ConfigPath) => string | undefined } {
  const given = new Map<string, string>();
  let value = file;
  for (const [name, { flag, path, isPath }] of Object.entries(flagTargets)) {
    const text = flags[name as keyof ConfigFlags];
    if (text === undefined) continue;
    given.set(formatPath(path), flag);
    // Keeps an empty path, so that the schema reports it; resolve() would return the working
    // directory.
    value = put(
      value,
      path,
      isPath === true && text !== '' ? resolve(workingDirectory, text) : text,
    );
  }
  return { value, flagFor: (path) => given.get(formatPath(path)) };
}

/** A copy with one value replaced. A parent that is not a map stays, and the schema reports it. */
function put(target: unknown, path: readonly string[], leaf: string): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return leaf;
  if (target !== undefined && !isMap(target)) return target;
  const inner = target !== undefined && Object.hasOwn(target, key) ? target[key] : undefined;
  return { ...target, [key]: put(inner, rest, leaf) };
}
