import { dirname, resolve } from 'node:path';
import type { FileKind } from './flag-kinds.ts';

/** A path that a configuration file names. */
export interface NamedPath {
  readonly path: string;
  readonly kind: FileKind;
}

/** The kinds of files that the keys of a configuration name, at any depth. */
type PathKeys = Readonly<Record<string, FileKind>>;

/**
 * The flags that name a configuration with paths of certificates or kubeconfigs. The configurations
 * of authentication and of encryption providers have none: the first embeds CAs, and the second
 * names sockets. Nor has that of tracing.
 */
const configurations: Readonly<Record<string, PathKeys>> = {
  // KubeProxyConfiguration and KubeSchedulerConfiguration: clientConnection, extenders[].tlsConfig
  config: {
    kubeconfig: 'kubeconfig',
    certFile: 'certificate',
    keyFile: 'key',
    caFile: 'authority',
  },
  'authorization-config': { kubeConfigFile: 'kubeconfig' },
  'egress-selector-config-file': {
    caBundle: 'authority',
    clientCert: 'certificate',
    clientKey: 'key',
  },
  'admission-control-config-file': { kubeConfigFile: 'kubeconfig' },
};

export function isConfigurationFlag(name: string): boolean {
  return Object.hasOwn(configurations, name);
}

/** The paths in a configuration file. @param document its parsed content */
export function pathsIn(flag: string, document: unknown): NamedPath[] {
  const keys = Object.hasOwn(configurations, flag) ? configurations[flag] : undefined;
  return keys === undefined ? [] : pathsBelow(document, keys);
}

/**
 * The configurations of admission plug-ins that an AdmissionConfiguration names. A relative path
 * starts at its directory (apiserver, admission/config.go).
 */
export function pluginFiles(document: unknown, file: string): string[] {
  const plugins: unknown = isMap(document) ? document['plugins'] : undefined;
  if (!Array.isArray(plugins)) return [];
  return plugins.flatMap((plugin: unknown) => {
    const path = isMap(plugin) ? plugin['path'] : undefined;
    return typeof path === 'string' && path !== '' ? [resolve(dirname(file), path)] : [];
  });
}

/** Visits each part once, because aliases can repeat a part exponentially often. */
function pathsBelow(document: unknown, keys: PathKeys): NamedPath[] {
  const found: NamedPath[] = [];
  const parts = new Set<unknown>([document]);
  for (const part of parts) {
    if (typeof part !== 'object' || part === null) continue;
    for (const [key, value] of Object.entries(part)) {
      const kind = Object.hasOwn(keys, key) ? keys[key] : undefined;
      if (typeof value === 'object') parts.add(value);
      else if (kind !== undefined && typeof value === 'string' && value !== '') {
        found.push({ path: value, kind });
      }
    }
  }
  return found;
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
