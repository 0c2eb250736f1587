import { resolve } from 'node:path';
import type { Service } from '../../sys/service.ts';
import { readServices } from '../../sys/service.ts';
import type { Component, ComponentName, FileNote } from './component.ts';
import { flagsOf } from './component-flags.ts';

/** The components whose services have their usual names, `etcd.service`. */
const programs = [
  'kube-apiserver',
  'etcd',
  'kube-controller-manager',
  'kube-scheduler',
  'cloud-controller-manager',
  'kube-proxy',
  'konnectivity-server',
  'konnectivity-agent',
] as const satisfies readonly ComponentName[];

/**
 * The components that systemd would start. A running program has its flags in its process, and
 * the installed service may be another one.
 */
export async function stoppedServices(
  running: readonly Component[],
  systemctl?: string,
): Promise<{ readonly components: readonly Component[]; readonly unclear: readonly FileNote[] }> {
  const names = new Set(running.map(({ name }) => name));
  const wanted = programs.filter((name) => !names.has(name));
  if (wanted.length === 0) return { components: [], unclear: [] };
  const queries = wanted.map((program) => ({ unit: `${program}.service`, program }));
  const services = await readServices(queries, systemctl);
  return {
    components: services.flatMap((service) => serviceComponent(service) ?? []),
    unclear: unclearServices(services),
  };
}

function serviceComponent(service: Service): Component | undefined {
  const { unit, words, environment, workingDirectory } = service;
  const name = programs.find((program) => unit === `${program}.service`);
  if (name === undefined || words === undefined) return undefined;
  return {
    name,
    source: { kind: 'unit', unit },
    flags: flagsOf({ name, words }, environment),
    sharesNetwork: true,
    hostPath: (path) => resolve(workingDirectory, path),
  };
}

/** One note for each reason: if systemctl fails, it fails for all services. */
function unclearServices(services: readonly Service[]): FileNote[] {
  const reasons = Map.groupBy(services, ({ unclear }) => unclear);
  return [...reasons].flatMap(([reason, group]) =>
    reason === undefined
      ? []
      : [
          {
            path: group.map(({ unit }) => unit).join(', '),
            reason: `does not run, and its flags are unknown: ${reason}`,
          },
        ],
  );
}
