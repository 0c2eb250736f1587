import type { Component, FileNote } from './component.ts';
import { containerComponents } from './container-components.ts';
import { withEtcdConfigFile } from './etcd-config-file.ts';
import {
  findComponentProcesses,
  processComponents,
  withRunningFlags,
} from './process-components.ts';
import { stoppedServices } from './service-components.ts';
import { readStaticPods } from './static-pods.ts';

export interface ComponentPlaces {
  /** The kubelet's directory of static pods. */
  readonly staticPodPath: string;
  /** By default those of this machine. */
  readonly proc?: string;
  readonly systemctl?: string;
}

export interface FoundComponents {
  readonly components: readonly Component[];
  /** What could not be read, so that components may be missing. */
  readonly problems: readonly FileNote[];
  /** Manifests that the kubelet does not use, and stopped services whose flags are unknown. */
  readonly ignored: readonly FileNote[];
}

/**
 * Finds the control-plane programs of this machine: in the manifests of static pods, among the
 * processes, and in the usual services. A program with a manifest and a process is found once.
 * Never rejects: what cannot be read is a problem.
 */
export async function findComponents({
  staticPodPath,
  proc = '/proc',
  systemctl,
}: ComponentPlaces): Promise<FoundComponents> {
  const pods = await readStaticPods(staticPodPath);
  const containers = pods.pods.map(containerComponents);
  const { processes, problems } = await findComponentProcesses(proc);
  const inPods = containers
    .flatMap(({ components }) => components)
    .map((component) => withRunningFlags(component, processes));
  const running = await processComponents({ processes, inPods, proc });
  const stopped = await stoppedServices([...inPods, ...running], systemctl);
  const configured = await Promise.all(
    [...inPods, ...running, ...stopped.components].map(withEtcdConfigFile),
  );
  const inShells = containers
    .flatMap((part) => part.inShells)
    .filter(({ name }) => running.every((component) => component.name !== name));
  return {
    components: configured.map(({ component }) => component),
    problems: [
      ...pods.problems,
      ...inShells.map(({ note }) => note),
      ...problems,
      ...configured.flatMap(({ problem }) => problem ?? []),
    ],
    ignored: [...pods.ignored, ...stopped.unclear],
  };
}
