import type { Instant } from '../../../core/instant.ts';
import { fileOf } from '../../../pki/layout.ts';
import type { CheckContext } from '../check.ts';
import { flagsInManifest } from '../flags-in-manifest.ts';
import { flagsInUnit } from '../flags-in-unit.ts';
import { requireLeaseAccess } from '../lease-access.ts';
import { requireSigningPair } from '../signing-pair.ts';
import type { KubeconfigName, KubeconfigWish } from '../kubeconfig.ts';
import { kubeconfigReplacement } from '../kubeconfig.ts';
import { entryOf } from '../leaf.ts';
import { isStaticPod, managedComponent } from '../managed-component.ts';
import type { RolloverNode } from '../node-files.ts';
import { caPath } from '../node-files.ts';
import type { Replacement } from '../replacement.ts';
import { fileTask } from '../replacement.ts';
import type { ManagerFiles, StepFlags } from '../step-flags.ts';
import { managerFlags, requireRunningFlags } from '../step-flags.ts';
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
  const { flags, isOutdated, requireRunning } = await plannedFlags(
    node,
    managerFlags(files, node),
    wish.now,
  );
  return fileTask(component, [kubeconfig, flags], {
    restart: {
      component,
      reads: [pathOf(node, name), caPath(node, files.root)],
      isOutdated,
    },
    check: async (signal) => {
      await requireRunning();
      await requireSigningPair(node, files.signing);
      await requireLeaseAccess(context, component, signal);
    },
  });
}

interface PlannedFlags {
  readonly flags: Replacement;
  /** The process has other flags than its unit. */
  readonly isOutdated: boolean;
  /** @throws AgentError CONFIG_INVALID */
  readonly requireRunning: () => Promise<void>;
}

/** The manifest or the drop-in with the flags of a component, which its restart makes effective. */
export async function plannedFlags(
  node: RolloverNode,
  flags: StepFlags,
  now: Instant,
): Promise<PlannedFlags> {
  const component = managedComponent(node, flags.component);
  if (isStaticPod(component)) {
    return {
      flags: await flagsInManifest(node, component, { wanted: flags.wanted, now }),
      isOutdated: false,
      requireRunning: async () => {},
    };
  }
  return {
    ...(await flagsInUnit(node, component, flags)),
    requireRunning: async () => requireRunningFlags(node, flags),
  };
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
