import { join } from 'node:path';
import { flagValue } from './component-flags.ts';
import type { Component, ComponentName } from './component.ts';

/** How a component of Kubernetes serves TLS (apiserver, pkg/server/options/serving.go). */
export interface Serving {
  readonly port: number;
  /** The name of the files in --cert-dir. */
  readonly pairName: string;
  /** Without a default, the component makes its certificate in memory. */
  readonly certificateDirectory?: string;
}

const servings: Readonly<Partial<Record<ComponentName, Serving>>> = {
  'kube-apiserver': {
    port: 6443,
    pairName: 'apiserver',
    certificateDirectory: '/var/run/kubernetes',
  },
  'kube-controller-manager': { port: 10_257, pairName: 'kube-controller-manager' },
  'kube-scheduler': { port: 10_259, pairName: 'kube-scheduler' },
  'cloud-controller-manager': { port: 10_258, pairName: 'cloud-controller-manager' },
};

export function servingOf(name: ComponentName): Serving | undefined {
  return servings[name];
}

/** The certificate of --cert-dir, which the component creates if no other flag names one. */
export function certificateInDirectory({ name, flags }: Component): string | undefined {
  const serving = servings[name];
  if (serving === undefined || flagValue(flags, 'tls-cert-file') !== undefined) return undefined;
  const directory = flagValue(flags, 'cert-dir') ?? serving.certificateDirectory;
  return directory === undefined ? undefined : join(directory, `${serving.pairName}.crt`);
}
