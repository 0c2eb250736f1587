import { AgentError } from '../../core/errors.ts';
import type { LeaseName } from '../../kube/lease-client.ts';
import { LeaseClient } from '../../kube/lease-client.ts';
import { loadKubeconfig } from '../../kube/kubeconfig.ts';
import { KubeClient } from '../../kube/rest-client.ts';
import { fileIn } from '../../pki/components/component-flags.ts';
import type { ComponentName } from '../../pki/components/component.ts';
import { restartOf } from '../../pki/renewal/restart.ts';
import type { CheckContext } from './check.ts';
import { waitUntilFine } from './check.ts';
import { logOf } from './managed-component.ts';

/**
 * Waits until the API server accepts the kubeconfig of a component for its Lease. A process that does
 * not lead is healthy although the API server rejects it, and would stop all work as the next leader.
 * @throws AgentError CERT_UNTRUSTED
 */
export async function requireLeaseAccess(
  context: CheckContext,
  name: ComponentName,
  signal: AbortSignal,
): Promise<void> {
  const component = context.node.components.find((one) => one.name === name);
  const path = fileIn(component, 'kubeconfig');
  const lease = component && restartOf(component)?.lease;
  if (path === undefined || lease === undefined) return;
  const faultNow = async (): Promise<string | undefined> => {
    try {
      await readLease(context, { path, lease }, signal);
      return undefined;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof AgentError)) throw error;
      return `${name} cannot become the leader with ${path}: ${error.message}`;
    }
  };
  const log = logOf(context.node.components, name);
  await waitUntilFine(context, signal, { code: 'CERT_UNTRUSTED', log, faultNow });
}

async function readLease(
  { node, clock, version }: CheckContext,
  { path, lease }: { readonly path: string; readonly lease: LeaseName },
  signal: AbortSignal,
): Promise<void> {
  using access = await loadKubeconfig((await node.tree.locate(path)).physical);
  await using client = await KubeClient.open({ access, version, clock });
  await new LeaseClient(client, lease).get(signal);
}
