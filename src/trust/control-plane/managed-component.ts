import { join } from 'node:path';
import { AgentError } from '../../core/errors.ts';
import { flagValue } from '../../pki/components/component-flags.ts';
import type { Component, ComponentName } from '../../pki/components/component.ts';
import { fileReferences } from '../../pki/components/file-references.ts';
import { fileOf } from '../../pki/layout.ts';
import { logCommand, podLogCommand } from '../../pki/renewal/component-start.ts';
import { restartOf } from '../../pki/renewal/restart.ts';
import { entryOf } from './leaf.ts';
import type { RolloverNode } from './node-files.ts';
import type { CaName } from './task.ts';

type Source<Kind extends Component['source']['kind']> = Component & {
  readonly source: { readonly kind: Kind };
};
export type StaticPod = Source<'static-pod'>;
export type UnitComponent = Source<'unit'>;

/** A component that the kubelet or systemd starts. @throws AgentError CONFIG_INVALID */
export function managedComponent(
  { components, directories }: Pick<RolloverNode, 'components' | 'directories'>,
  name: ComponentName,
): StaticPod | UnitComponent {
  const component = components.find((one) => one.name === name);
  if (isManaged(component)) return component;
  const manifests = join(directories.kubernetes, 'manifests');
  const found =
    component === undefined ? 'does not run on this node' : 'is neither a static pod nor a unit';
  throw new AgentError('CONFIG_INVALID', `${name} ${found}`, {
    remedy: `Run this command on a control-plane node with ${name} as a static pod in ${manifests} or as a systemd unit; apply supports no other control planes`,
  });
}

export function isManaged(
  component: Component | undefined,
): component is StaticPod | UnitComponent {
  return component !== undefined && component.source.kind !== 'process';
}

export function isStaticPod(component: StaticPod | UnitComponent): component is StaticPod {
  return component.source.kind === 'static-pod';
}

function isUnit(component: Component | undefined): component is UnitComponent {
  return component?.source.kind === 'unit';
}

/** The files that a step changes, and the flags of the components that have to use them. */
const usedFiles = {
  kubernetes: [
    ['kube-apiserver', 'apiserver', 'tls-cert-file'],
    ['kube-controller-manager', 'controller-manager.conf', 'kubeconfig'],
    ['kube-scheduler', 'scheduler.conf', 'kubeconfig'],
  ],
  etcd: [
    ['kube-apiserver', 'apiserver-etcd-client', 'etcd-certfile'],
    ['etcd', 'etcd-server', 'cert-file'],
    ['etcd', 'etcd-peer', 'peer-cert-file'],
  ],
  'front-proxy': [['kube-apiserver', 'front-proxy-client', 'proxy-client-cert-file']],
} as const satisfies Record<CaName, readonly (readonly [ComponentName, string, string])[]>;

/**
 * Units are often installed with other paths than those of kubeadm, and then a step would change files
 * that nothing reads. The path may be in a flag or in the configuration file that a flag names.
 * @throws AgentError CONFIG_INVALID
 */
export async function requireUsualPaths({
  ca,
  tree,
  components,
  directories,
}: Pick<RolloverNode, 'ca' | 'tree' | 'components' | 'directories'>): Promise<void> {
  for (const [name, file, flag] of usedFiles[ca]) {
    const component = components.find((one) => one.name === name);
    if (!isUnit(component)) continue;
    const path = fileOf(entryOf(file), directories);
    const { references } = await fileReferences([component]);
    const used = await Promise.all(
      references.map(async (one) => (await tree.locate(one.path)).path),
    );
    if (!used.includes((await tree.locate(path)).path)) throw unusual(component, flag, path);
  }
}

function unusual({ name, source, flags }: UnitComponent, flag: string, path: string): AgentError {
  const value = flagValue(flags, flag);
  const found = value === undefined ? `has no --${flag}` : `has --${flag}=${value}`;
  return new AgentError('CONFIG_INVALID', `${name} does not use ${path}, but ${found}`, {
    remedy: `Pass its folder with --kubernetes-dir or --cert-dir; if the file has another name, move it to ${path}, and change the flag: systemctl edit --full ${source.unit}`,
  });
}

/** The command that shows the log of a component of this node. */
export function logOf(components: readonly Component[], name: ComponentName): string {
  const component = components.find((one) => one.name === name);
  const restart = component && restartOf(component);
  return restart === undefined ? podLogCommand(name) : logCommand(restart);
}
