import { Option } from 'commander';
import { existsSync } from 'node:fs';
import type { Source } from '../approver/facts.ts';
import { inventorySource } from '../approver/sources/inventory-source.ts';
import type { MachineLookup } from '../approver/sources/machine-source.ts';
import { machineSource } from '../approver/sources/machine-source.ts';
import { loadApproverPolicy } from '../config/approver-policy.ts';
import { loadNodeInventory } from '../config/node-inventory.ts';
import type { ApproverPolicy } from '../core/approver-policy.ts';
import { defaultApproverPolicy } from '../core/approver-policy.ts';
import { isInPod } from '../kube/service-account.ts';
import { userKubeconfigs } from './certs-options.ts';

export function policyOption(): Option {
  return new Option('--policy <file>', 'policy file (default: the built-in policy)');
}

/** @throws AgentError CONFIG_UNREADABLE, CONFIG_INVALID */
export async function policyOf(file: string | undefined): Promise<ApproverPolicy> {
  return file === undefined ? defaultApproverPolicy : loadApproverPolicy(file);
}

/**
 * The sources of the policy. The inventory must be valid, because a command has no earlier version.
 * @throws AgentError CONFIG_UNREADABLE, CONFIG_INVALID
 */
export async function sourcesOf(
  { sources }: ApproverPolicy,
  machines: MachineLookup,
): Promise<Source[]> {
  const { inventory, machine } = sources;
  return [
    ...(inventory === undefined ? [] : [inventorySource(await loadNodeInventory(inventory.file))]),
    ...(machine === undefined ? [] : [machineSource(machines)]),
  ];
}

/**
 * The kubeconfig that kubectl uses, or admin.conf on a control-plane node where kubectl finds none.
 * Undefined in a pod without one: kubectl uses the service account there.
 */
export function defaultKubeconfig(
  variables: Readonly<Record<string, string | undefined>>,
): string | undefined {
  const [named = ''] = (variables['KUBECONFIG'] ?? '').split(':');
  if (named !== '') return named;
  const [own = ''] = userKubeconfigs(variables);
  const candidates = [own, '/etc/kubernetes/admin.conf'].filter((path) => path !== '');
  const found = candidates.find((path) => existsSync(path));
  return found ?? (isInPod(variables) ? undefined : own);
}
