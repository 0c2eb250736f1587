import { fileOf } from '../../../pki/layout.ts';
import type { CheckContext } from '../check.ts';
import { requireLeaseAccess } from '../lease-access.ts';
import { requireSigningPair } from '../signing-pair.ts';
import type { KubeconfigName, KubeconfigWish } from '../kubeconfig.ts';
import { kubeconfigReplacement } from '../kubeconfig.ts';
import { entryOf } from '../leaf.ts';
import { isStaticPod, managedComponent } from '../managed-component.ts';
import type { ManagerFiles } from '../manager-flags.ts';
import { requireRunningFlags } from '../manager-flags.ts';
import { managerManifest } from '../manager-manifest.ts';
import { managerUnit } from '../manager-unit.ts';
import type { RolloverNode } from '../node-files.ts';
import { caPath } from '../node-files.ts';
import { fileTask } from '../replacement.ts';
import type { FileTask } from '../task.ts';

/** kube-controller-manager reads its flags, its kubeconfig and the CAs that it publishes only when it starts. */
export async function managerTask(
  context: CheckContext,
  files: ManagerFiles,
  wish: KubeconfigWish,
): Promise<FileTask> {
  const { node } = context;
  const name = 'controller-manager.conf';
  const component = 'kube-controller-manager';
  const kubeconfig = await kubeconfigReplacement(node, name, wish);
  const manager = managedComponent(node, component);
  const { flags, isOutdated } = isStaticPod(manager)
    ? { flags: await managerManifest(node, manager, { files, now: wish.now }), isOutdated: false }
    : await managerUnit(node, manager, files);
  return fileTask(component, [kubeconfig, flags], {
    restart: {
      component,
      reads: [pathOf(node, name), caPath(node, files.root)],
      isOutdated,
    },
    check: async (signal) => {
      if (!isStaticPod(manager)) await requireRunningFlags(node, files);
      await requireSigningPair(node, files.signing);
      await requireLeaseAccess(context, component, signal);
    },
  });
}

export async function schedulerTask(
  context: CheckContext,
  wish: KubeconfigWish,
): Promise<FileTask> {
  const { node } = context;
  const name = 'scheduler.conf';
  managedComponent(node, 'kube-scheduler');
  return fileTask('kube-scheduler', [await kubeconfigReplacement(node, name, wish)], {
    restart: { component: 'kube-scheduler', reads: [pathOf(node, name)] },
    check: async (signal) => requireLeaseAccess(context, 'kube-scheduler', signal),
  });
}

/** admin.conf comes last, so that an administrator keeps access until everything else works. */
export async function administratorTasks(
  node: RolloverNode,
  wish: KubeconfigWish,
): Promise<FileTask[]> {
  const names: readonly KubeconfigName[] = ['super-admin.conf', 'admin.conf'];
  return Promise.all(
    names.map(async (name) => fileTask(name, [await kubeconfigReplacement(node, name, wish)])),
  );
}

function pathOf({ directories }: RolloverNode, name: KubeconfigName): string {
  return fileOf(entryOf(name), directories);
}
